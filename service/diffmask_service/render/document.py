"""One web page with everything in it: opens offline, asks nobody for anything.

The content security policy forbids every request, and every script but the page's own,
so that even a text that slipped through escaping could load or run nothing.
"""

import base64
import hashlib
from importlib import resources

from diffmask_service.render.markup import Html, element, join

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, *body: str, style: str = "", script: str = "") -> str:
    """Return a complete HTML document.

    Args:
        title: Its title.
        *body: What it holds; escaped unless it is `Html` already.
        style: Rules beside those that all pages share; our own, as it is not escaped.
        script: What it runs; our own likewise. Empty for none.
    """
    policy = _POLICY
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    head = join(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Html(stylesheet() + style)),
    )
    scripts = [element("script", Html(script))] if script else []
    page = element(
        "html",
        element("head", head),
        element("body", *body, *scripts),
        attributes={"lang": "en"},
    )
    return f"<!doctype html>\n{page}\n"


def stylesheet() -> str:
    """Return the style that pages with explanations share."""
    return resources.files(__package__).joinpath("page.css").read_text("utf-8")
