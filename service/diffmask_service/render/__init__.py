"""Explanations for people and for other programs: terminal, web page, JSON.

Everything here turns a `Report` into text and touches nothing else.
"""

from diffmask_service.render.card import BundleCard
from diffmask_service.render.document import stylesheet
from diffmask_service.render.json_text import render_json
from diffmask_service.render.page import render_page
from diffmask_service.render.report import Report
from diffmask_service.render.terminal import TerminalView

__all__ = [
    "BundleCard",
    "Report",
    "TerminalView",
    "render_json",
    "render_page",
    "stylesheet",
]
