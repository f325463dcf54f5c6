"""The service's log: one line an event, in text or in JSON, and never a user's text."""

import json
import logging
import re
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TypeAlias

from diffmask_service.telemetry.tracebacks import discreet_traceback

LogFormat: TypeAlias = Literal["text", "json"]
_ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
)
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SECOND = "%Y-%m-%d %H:%M:%S"
_FIELD = re.compile(r"\b([a-z_]+)=%")


def configure_logging(level: str, *, log_format: LogFormat = "text") -> None:
    """Send the service's log to the standard error stream, one line an event.

    Args:
        level: Name of the lowest level to write, such as `INFO`.
        log_format: `text`, or `json` for one object a line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    # Neither format shows them, and every line pays for them.
    logging.logThreads = logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.basicConfig(handlers=[handler], level=level)


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def __init__(self) -> None:
        super().__init__(_LINE)
        self._second = 0
        self._shown_second = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, a traceback after it."""
        return super().format(_discreet(record))

    def formatTime(  # noqa: N802 - inherited
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Return when it was; the time of day is spelled once a second."""
        second = int(record.created)
        if second != self._second:
            local = self.converter(second)
            self._shown_second = time.strftime(datefmt or _SECOND, local)
            self._second = second
        return f"{self._shown_second},{int(record.msecs):03d}"

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - inherited
        """Return a traceback without what strangers' exceptions say."""
        return discreet_traceback(ei[1])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines.

    It holds `time`, `level`, `logger` and `message`, a traceback as `exception`, and
    whatever the message gives as `name=value` once more as fields with their types.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        shown: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": _discreet(record).getMessage(),
        }
        names = _FIELD.findall(str(record.msg))
        if isinstance(record.args, tuple) and len(names) == len(record.args):
            shown |= dict(zip(names, record.args, strict=True))
        if record.exc_info:
            shown["exception"] = discreet_traceback(record.exc_info[1])
        return json.dumps(shown, default=str, ensure_ascii=False)


def _discreet(record: logging.LogRecord) -> logging.LogRecord:
    # After its first line asyncio shows the futures concerned, exceptions and all.
    if record.name != "asyncio":
        return record
    copied = logging.makeLogRecord(vars(record))
    copied.msg, copied.args = record.getMessage().partition("\n")[0], ()
    return copied
