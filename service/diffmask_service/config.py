"""Settings of the server; the only reader of flags and environment.

A setting is one name in three spellings: the field `queue_tokens`, the flag
`--queue-tokens`, the variable `DIFFMASK_QUEUE_TOKENS`. A flag beats a variable, a
variable the default.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from diffmask_service.engine.limits import Device, EngineLimits, count_cores
from diffmask_service.errors import StartError

_PREFIX = "DIFFMASK_"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _setting(
    meaning: str,
    *,
    default: Any,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    is_secret: bool = False,
) -> Any:
    metadata = {
        "meaning": meaning,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
        "is_secret": is_secret,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Everything that can be set, each with its meaning and trade-off in the source."""

    bundle: Path = _setting(  # noqa: RUF009 - a field, made once
        "Directory of the bundle to serve; there is no default.", default=Path()
    )
    precision: str = _setting(
        "Which of the bundle's graphs to run; empty for the bundle's choice. Lower"
        " precision is faster and answers a little differently.",
        default="",
        choices=("", "fp32", "fp16", "int8", "w8"),
    )
    host: str = _setting(
        "Address to listen on. 0.0.0.0 reaches other machines, without encryption:"
        " only behind a proxy or in a trusted network.",
        default="127.0.0.1",
    )
    grpc_port: int = _setting(
        "Port for gRPC; 0 lets the system choose.",
        default=8081,
        at_least=0,
        at_most=65535,
    )
    metrics_port: int = _setting(
        "Port for /metrics over HTTP; 0 lets the system choose.",
        default=8082,
        at_least=0,
        at_most=65535,
    )
    device: Device = _setting(  # noqa: RUF009 - a field, made once
        "Where to run the model; auto takes a GPU where ONNX Runtime offers one. cuda"
        " refuses to start without one, which auto would hide.",
        default="auto",
        choices=("auto", "cpu", "cuda"),
    )
    workers: int = _setting(
        "Runs of the model at the same time on a CPU, one core each; 0 for one per"
        " core. More than the cores slows every request.",
        default=0,
        at_least=0,
        at_most=1024,
    )
    max_batch_tokens: int = _setting(
        "Most tokens of one run on a GPU, padding counted. Larger runs answer more"
        " texts a second and each of them later, and take more memory.",
        default=16_384,
        at_least=1,
        at_most=1 << 24,
    )
    max_texts: int = _setting(
        "Most texts of a request. Larger requests cost fewer round trips and make"
        " others wait longer.",
        default=32,
        at_least=1,
        at_most=4096,
    )
    max_text_bytes: int = _setting(
        "Longest text, bytes of UTF-8. Longer texts take time to tokenize even if the"
        " model then refuses them.",
        default=16_384,
        at_least=1,
        at_most=1 << 26,
    )
    max_message_bytes: int = _setting(
        "Largest request, bytes; larger ones are refused before they are read whole."
        " Bounds memory.",
        default=2 << 20,
        at_least=1024,
        at_most=1 << 30,
    )
    queue_tokens: int = _setting(
        "Most tokens admitted and not yet answered. A longer queue refuses fewer"
        " requests and makes them wait longer.",
        default=65_536,
        at_least=1,
        at_most=1 << 30,
    )
    default_deadline_seconds: float = _setting(
        "Time for a request that brings no deadline, seconds. Too long keeps work for"
        " callers who have left.",
        default=10.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    max_deadline_seconds: float = _setting(
        "Most time that any request gets, however late its deadline, seconds. Bounds"
        " how long a caller who forgot to set one can hold its place.",
        default=3600.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    inline_tokens: int = _setting(
        "A request of at most so many tokens, as its bytes tell, is tokenized and"
        " decoded on the event loop. More saves changes of threads, and makes other"
        " calls wait for the text work.",
        default=512,
        at_least=0,
        at_most=65_536,
    )
    late_factor: float = _setting(
        "Refuse a request at once when what waits in front of it is expected to take"
        " more than this many times the time it has left; 0 refuses none. Lower"
        " refuses more requests that would just have made it.",
        default=1.5,
        at_least=0.0,
        at_most=1000.0,
    )
    min_retry_seconds: float = _setting(
        "Shortest wait that a refusal advises, seconds. Too short invites a storm.",
        default=0.05,
        at_least=0.001,
        at_most=3600.0,
    )
    max_retry_seconds: float = _setting(
        "Longest wait that a refusal advises, seconds. Too long leaves a server idle"
        " that has caught up.",
        default=5.0,
        at_least=0.001,
        at_most=3600.0,
    )
    priority_levels: int = _setting(
        "Levels of priority that a request may name, 1 the highest. One level makes"
        " everybody equal.",
        default=3,
        at_least=1,
        at_most=100,
    )
    default_priority: int = _setting(
        "Level of a request that names none. The highest leaves no way to be more"
        " urgent.",
        default=2,
        at_least=1,
        at_most=100,
    )
    priority_step_seconds: float = _setting(
        "Head start of a level over the next lower one, seconds: a request overtakes"
        " those one level below that came at most this long before it. Longer makes"
        " levels count for more, and the lowest wait longer.",
        default=1.0,
        at_least=0.0,
        at_most=3600.0,
    )
    drain_seconds: float = _setting(
        "Longest wait for requests in progress when stopping, seconds. Keep it below"
        " what the platform allows before it kills the process.",
        default=20.0,
        at_least=0.0,
        at_most=3600.0,
    )
    reflection: bool = _setting(
        "Whether tools may ask the server for its API. Off tells strangers less.",
        default=True,
    )
    log_level: str = _setting(
        "Lowest level of the log; INFO writes one line a request.",
        default="INFO",
        choices=_LEVELS,
    )

    @property
    def engine_limits(self) -> EngineLimits:
        """What the engine needs to know of it."""
        return EngineLimits(
            max_texts=self.max_texts,
            max_text_bytes=self.max_text_bytes,
            queue_tokens=self.queue_tokens,
            default_deadline_seconds=self.default_deadline_seconds,
            max_deadline_seconds=self.max_deadline_seconds,
            inline_tokens=self.inline_tokens,
            late_factor=self.late_factor,
            min_retry_seconds=self.min_retry_seconds,
            max_retry_seconds=self.max_retry_seconds,
            priority_levels=self.priority_levels,
            default_priority=self.default_priority,
            priority_step_seconds=self.priority_step_seconds,
            device=self.device,
            workers=self.workers or count_cores(),
            max_batch_tokens=self.max_batch_tokens,
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag for each setting; values stay text for `read_config`.

    Args:
        parser: Where the flags go; an absent flag leaves no attribute.
    """
    for setting in fields(ServiceConfig):
        default = "none" if setting.name == "bundle" else setting.default
        meaning = setting.metadata["meaning"]
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{meaning} [{default}]".replace("%", "%%"),
        )


def read_config(
    flags: Mapping[str, object], environment: Mapping[str, str]
) -> ServiceConfig:
    """Put the settings together and check them.

    Args:
        flags: Text by field name, as `vars` gives it for a parsed command line; other
            names are passed over.
        environment: Variables, such as `os.environ`.

    Raises:
        StartError: Values are wrong; all problems are named at once.
    """
    values: dict[str, Any] = {}
    problems = _unknown_variables(environment)
    for setting in fields(ServiceConfig):
        variable = _PREFIX + setting.name.upper()
        if setting.name in flags:
            source, text = (
                "--" + setting.name.replace("_", "-"),
                str(flags[setting.name]),
            )
        elif variable in environment:
            source, text = variable, environment[variable]
        else:
            continue
        try:
            values[setting.name] = _parse(setting, text)
        except ValueError as error:
            problems.append(f"{source}: {error}")
    if not problems and values.get("bundle", Path()) == Path():
        problems.append("--bundle: is missing; name the directory of a bundle")
    problems += _contradictions(values)
    if problems:
        raise StartError("wrong settings:\n  " + "\n  ".join(problems))
    return ServiceConfig(**values)


def format_config(config: ServiceConfig) -> str:
    """Return the effective settings, one a line, secrets masked."""
    lines = []
    for setting in fields(config):
        value = getattr(config, setting.name)
        shown = "********" if setting.metadata["is_secret"] and value else value
        lines.append(f"{setting.name} = {shown}")
    return "\n".join(lines)


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {_PREFIX + setting.name.upper() for setting in fields(ServiceConfig)}
    return [
        f"{name}: no such setting; known are {', '.join(sorted(known))}"
        for name in sorted(environment)
        if name.startswith(_PREFIX) and name not in known
    ]


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    def value(name: str) -> Any:
        default = ServiceConfig.__dataclass_fields__[name].default
        return values.get(name, default)

    problems = []
    if value("default_priority") > value("priority_levels"):
        problems.append(
            f"--default-priority: {value('default_priority')} is none of the"
            f" {value('priority_levels')} levels of --priority-levels"
        )
    if value("min_retry_seconds") > value("max_retry_seconds"):
        problems.append(
            "--min-retry-seconds: is longer than --max-retry-seconds,"
            f" {value('min_retry_seconds')} > {value('max_retry_seconds')}"
        )
    return problems


def _parse(setting: Field[Any], text: str) -> Any:
    if isinstance(setting.default, bool):
        return _parse_switch(text)
    choices = setting.metadata["choices"]
    kind: Callable[[str], Any] = str if choices else setting.type  # type: ignore[assignment]
    try:
        value = kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {noun}") from None
    if choices and value not in choices:
        names = ", ".join(choice for choice in choices if choice)
        raise ValueError(f"{text!r} is not one of {names}")
    low, high = setting.metadata["at_least"], setting.metadata["at_most"]
    # Written so that "nan" fails as well.
    if low is not None and not low <= value <= high:
        raise ValueError(f"{text} is not between {low} and {high}")
    return value


def _parse_switch(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")
