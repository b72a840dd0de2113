"""Reports of a training run, each one HTML file."""

from deltarule.report.html import write_report

__all__ = ["write_report"]
