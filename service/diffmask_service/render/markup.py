"""HTML by functions, escaped by construction: what is not `Html` is text."""

from collections.abc import Mapping
from html import escape


class Html(str):
    """A piece of finished HTML."""

    __slots__ = ()


def element(
    name: str,
    *children: str,
    attributes: Mapping[str, str] | None = None,
    cls: str = "",
) -> Html:
    """Return an element.

    Args:
        name: Its tag.
        *children: What it holds; escaped unless it is `Html` already.
        attributes: Values by attribute name; escaped.
        cls: Its class; empty for none.
    """
    values = {"class": cls, **(attributes or {})} if cls else attributes or {}
    opening = "".join(f' {key}="{escape(value)}"' for key, value in values.items())
    return Html(f"<{name}{opening}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Return pieces one after the other; escaped unless they are `Html` already."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(child) for child in children
        )
    )
