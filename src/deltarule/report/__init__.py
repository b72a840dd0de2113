"""One-file HTML reports of a training run."""

from deltarule.report.html import write_report
from deltarule.report.writing import check_writable

__all__ = ["check_writable", "write_report"]
