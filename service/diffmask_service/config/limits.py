"""Settings of how much a call, a connection and a run may hold."""

from dataclasses import dataclass

from diffmask_service.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """Bounds on runs, requests, connections and streams."""

    workers: int = setting(
        "Runs of a model at the same time on a CPU, one core each; 0 for one per core."
        " Each model and version has so many of its own: several that are busy at once"
        " share the cores, and more runs than cores slow every request.",
        default=0,
        at_least=0,
        at_most=1024,
    )
    worker_niceness: int = setting(
        "How many nice levels less urgent runs on a CPU are than the rest of the"
        " server, on Linux; 0 makes them equal. More keeps refusals, health checks and"
        " metrics prompt when every core computes, and gives more of a core away to"
        " other programs that share it.",
        default=10,
        at_least=0,
        at_most=19,
    )
    max_batch_tokens: int = setting(
        "Most tokens of one run on a GPU, padding counted. Larger runs answer more"
        " texts a second and each of them later, and take more memory.",
        default=16_384,
        at_least=1,
        at_most=1 << 24,
    )
    max_texts: int = setting(
        "Most texts of a request. Larger requests cost fewer round trips and make"
        " others wait longer.",
        default=32,
        at_least=1,
        at_most=4096,
    )
    max_text_bytes: int = setting(
        "Longest text, bytes of UTF-8. Longer texts take time to tokenize even if the"
        " model then refuses them.",
        default=16_384,
        at_least=1,
        at_most=1 << 26,
    )
    max_message_bytes: int = setting(
        "Largest request, bytes; larger ones are refused before they are read whole."
        " Bounds memory.",
        default=2 << 20,
        at_least=1024,
        at_most=1 << 30,
    )
    max_metadata_bytes: int = setting(
        "Largest headers of a call, bytes; twice as much is never let in. Too small"
        " refuses callers whose tokens or traces are long, too large lets each call"
        " hold that much memory.",
        default=8192,
        at_least=1024,
        at_most=1 << 20,
    )
    max_concurrent_calls: int = setting(
        "Most calls of a connection at a time; further ones wait at the client.",
        default=1024,
        at_least=1,
        at_most=1 << 20,
    )
    max_connection_age_seconds: float = setting(
        "When a connection is renewed, seconds, moved by up to a tenth at random."
        " Shorter spreads clients over new replicas sooner and costs handshakes.",
        default=300.0,
        at_least=1.0,
        at_most=2_000_000.0,
    )
    max_connection_age_grace_seconds: float = setting(
        "Time for what is in progress on a connection that is renewed, seconds. Streams"
        " that last longer are cut off.",
        default=3600.0,
        at_least=0.0,
        at_most=2_000_000.0,
    )
    stream_window_requests: int = setting(
        "Most requests of one stream in progress; no more are read until the oldest is"
        " answered. More keep the workers busier and take more memory.",
        default=16,
        at_least=1,
        at_most=4096,
    )
