"""The service's log."""

import logging

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging(level: str) -> None:
    """Send the service's log to the standard error stream, one line an event.

    Args:
        level: Name of the lowest level to write, such as `INFO`.
    """
    logging.basicConfig(format=LOG_FORMAT, level=level)
