"""One-file HTML reports of a training run."""

from deltarule.report.html import write_report

__all__ = ["write_report"]
