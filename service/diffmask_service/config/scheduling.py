"""Settings of what waits: how much, for how long, in what order."""

from dataclasses import dataclass

from diffmask_service.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class SchedulingConfig:
    """The queue, deadlines, refusals and levels of priority."""

    queue_tokens: int = setting(
        "Most tokens admitted and not yet answered, for each model and version apart,"
        " so that one in demand takes no other's room. A longer queue refuses fewer"
        " requests and makes them wait longer.",
        default=65_536,
        at_least=1,
        at_most=1 << 30,
    )
    default_deadline_seconds: float = setting(
        "Time for a request that brings no deadline, seconds, up to"
        " max_deadline_seconds. Too long keeps work for callers who have left.",
        default=10.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    max_deadline_seconds: float = setting(
        "Most time that any request gets, however late its deadline, seconds. Bounds"
        " how long a caller who forgot to set one can hold its place.",
        default=3600.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    inline_tokens: int = setting(
        "A request of at most so many tokens, and of at most four times as many bytes,"
        " is tokenized and decoded on the event loop. More saves changes of threads,"
        " and makes other calls wait for the text work.",
        default=512,
        at_least=0,
        at_most=65_536,
    )
    late_factor: float = setting(
        "Refuse a request at once when what waits in front of it is expected to take"
        " more than this share of the time it has left; 0 refuses none. Lower refuses"
        " more requests that would just have made it; near 1 or above, a server that is"
        " offered too much spends runs on answers that come too late.",
        default=0.75,
        at_least=0.0,
        at_most=1000.0,
    )
    min_retry_seconds: float = setting(
        "Shortest wait that a refusal advises, seconds. Too short invites a storm.",
        default=0.05,
        at_least=0.001,
        at_most=3600.0,
    )
    max_retry_seconds: float = setting(
        "Longest wait that a refusal advises, seconds. Too long leaves a server idle"
        " that has caught up.",
        default=5.0,
        at_least=0.001,
        at_most=3600.0,
    )
    priority_levels: int = setting(
        "Levels of priority that a request may name, 1 the highest. One level makes"
        " everybody equal.",
        default=3,
        at_least=1,
        at_most=100,
    )
    default_priority: int = setting(
        "Level of a request that names none. The highest leaves no way to be more"
        " urgent.",
        default=2,
        at_least=1,
        at_most=100,
    )
    priority_step_seconds: float = setting(
        "Head start of a level over the next lower one, seconds: a request overtakes"
        " those one level below that came at most this long before it. Longer makes"
        " levels count for more, and the lowest wait longer.",
        default=1.0,
        at_least=0.0,
        at_most=3600.0,
    )
    drain_seconds: float = setting(
        "Longest wait for requests in progress when stopping, seconds. Keep it below"
        " what the platform allows before it kills the process.",
        default=20.0,
        at_least=0.0,
        at_most=3600.0,
    )

    def out_of_order(self) -> list[str]:
        """Return what is wrong with the settings taken together."""
        problems = []
        if self.default_priority > self.priority_levels:
            problems.append(
                f"--default-priority: {self.default_priority} is none of the"
                f" {self.priority_levels} levels of --priority-levels"
            )
        if self.min_retry_seconds > self.max_retry_seconds:
            problems.append(
                "--min-retry-seconds: is longer than --max-retry-seconds,"
                f" {self.min_retry_seconds} > {self.max_retry_seconds}"
            )
        return problems
