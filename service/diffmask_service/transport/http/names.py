"""By which names a listener may be called.

A stranger's page could have its own name lead to this machine, and would then be of the
same origin as what answers there: its scripts could call it and read the answers. But
the browser still says which name it was given.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def names_of(host: str) -> tuple[str, ...]:
    """Return the names of a listener; none where it may have any.

    Args:
        host: Address that it listens on.
    """
    return LOOPBACK if host in LOOPBACK else ()


def refusal(names: Collection[str], header: str) -> str | None:
    """Return why a request is refused; None lets it in.

    Args:
        names: What the listener may be called by; none for any.
        header: `Host` of the request; empty for none, as no browser leaves it.
    """
    if not names or not header or _name_in(header) in names:
        return None
    return (
        "the server is called by a name that it does not go by; use"
        f" {' or '.join(names)}"
    )


def _name_in(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
