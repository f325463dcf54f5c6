import json
import logging

import pytest

from diffmask_service.errors import InferenceError
from diffmask_service.telemetry.logs import JsonFormatter, TextFormatter

CANARY = "zanzibar"


def record(
    message: str, *args: object, error: BaseException | None = None, name: str = "x"
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(name, logging.INFO, "f.py", 1, message, args, info)


def raised(error: Exception, *, cause: Exception | None = None) -> Exception:
    if cause is not None:
        error.__cause__ = cause
    try:
        raise error
    except type(error) as caught:
        return caught


def test_json_has_fields_with_their_types() -> None:
    line = JsonFormatter().format(
        record("id=%s texts=%d seconds=%.4f", "abc", 3, 0.25, name="diffmask.access")
    )
    shown = json.loads(line)
    assert shown.pop("time").endswith("+00:00")
    assert shown == {
        "level": "INFO",
        "logger": "diffmask.access",
        "message": "id=abc texts=3 seconds=0.2500",
        "id": "abc",
        "texts": 3,
        "seconds": 0.25,
    }


def test_json_of_a_plain_message_has_no_fields() -> None:
    shown = json.loads(JsonFormatter().format(record("ready on %s", "[::1]:8081")))
    assert shown["message"] == "ready on [::1]:8081"
    assert set(shown) == {"time", "level", "logger", "message"}


def test_json_is_one_line_whatever_the_message_holds() -> None:
    assert "\n" not in JsonFormatter().format(record("two\nlines"))


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_foreign_exceptions_are_placed_but_not_quoted(
    formatter: logging.Formatter,
) -> None:
    cause = raised(ValueError(f"cannot read {CANARY}"))
    error = raised(InferenceError("the graph failed to run"), cause=cause)
    line = formatter.format(record("id=%s failed", "abc", error=error))
    assert CANARY not in line
    assert "builtins.ValueError: (what it says is not logged)" in line
    assert "InferenceError: the graph failed to run" in line
    assert "test_logs.py" in line
    assert line.index("ValueError") < line.index("InferenceError")


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_an_exception_in_the_course_of_another_shows_both(
    formatter: logging.Formatter,
) -> None:
    error = raised(OSError("disk full"))
    error.__context__ = raised(KeyError(CANARY))
    line = formatter.format(record("failed", error=error))
    assert CANARY not in line
    assert "KeyError" in line
    assert "disk full" in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_asyncio_shows_of_futures_is_left_out(
    formatter: logging.Formatter,
) -> None:
    message = f"Task was destroyed\nfuture: <Task exception=ValueError('{CANARY}')>"
    line = formatter.format(record(message, name="asyncio"))
    assert "Task was destroyed" in line
    assert CANARY not in line


def test_the_text_format_is_one_line_an_event() -> None:
    line = TextFormatter().format(record("id=%s code=%s", "abc", "OK"))
    assert line.endswith(" INFO x: id=abc code=OK")
