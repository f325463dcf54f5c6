"""The page of a report: one HTML file that opens offline."""

from diffmask_service.audit.report.drawing.page import render_report

__all__ = ["render_report"]
