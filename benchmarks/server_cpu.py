"""What a server costs over the bare engine: CPU seconds a text, over loopback.

A server process answers gRPC calls with all gates; its CPU time comes from the system's
accounting of that process. The bare engine is the same graph, opened with one thread
as the service opens it, run on the same token ids in this process: no tokenizer, no
decoding, no protocol. The two take turns.

The bare engine runs each text alone for calls of one text, and for larger calls in the
very groups that the service forms.
"""

import argparse
import resource
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import Server, running
from diffmask_service.bundle import Bundle, read_bundle
from diffmask_service.client import Client
from diffmask_service.core.batching import GROUP_TOKENS, Shape, UnpaddedBatches
from diffmask_service.engine.feeds import Row, feed
from diffmask_service.engine.runtime import open_graph

_OUTPUTS = ["logits", "input_gates", "hidden_gates"]
_WORD = "movie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """CPU seconds a text in one round: of the bare engine, and of the server.

    Attributes:
        bare_seconds: Of the graph alone, in this process.
        server_seconds: Of the server's process.
    """

    bare_seconds: float
    server_seconds: float


def main() -> None:
    """Measure every size of call and print one table."""
    arguments = _parse()
    bundle = read_bundle(arguments.bundle)
    # The log as in production: a line for each call.
    with (
        running(arguments.bundle, workers=1, device="cpu", log_level="INFO") as server,
        Client(server.target) as client,
    ):
        rounds_by_size = {
            batch: measure(server, client, bundle, batch=batch, arguments=arguments)
            for batch in arguments.batches
        }
    figures = {
        "tokens": arguments.tokens,
        "graph": bundle.manifest.default_graph,
        "sizes": [
            {"texts": batch, **summarise(rounds)}
            for batch, rounds in rounds_by_size.items()
        ],
    }
    print("\n".join(describe(figures)))
    store("server_cpu", figures, arguments=arguments)


def measure(
    server: Server,
    client: Client,
    bundle: Bundle,
    *,
    batch: int,
    arguments: argparse.Namespace,
) -> list[Round]:
    """Return what every round cost with calls of one size.

    Args:
        server: What is measured.
        client: Asks it.
        bundle: What it serves.
        batch: Texts of a call.
        arguments: The command line.
    """
    text = " ".join([_WORD] * (arguments.tokens - 2))
    texts = [text] * batch
    calls = max(1, arguments.texts // batch)
    bare = _bare(bundle, text, batch=batch)

    def ask() -> object:
        return client.explain(texts)

    ask()
    return [
        Round(
            bare_seconds=_spent(bare, calls, _own_seconds) / calls / batch,
            server_seconds=_spent(ask, calls, server.cpu_seconds) / calls / batch,
        )
        for _ in range(arguments.rounds)
    ]


def summarise(rounds: Sequence[Round]) -> dict[str, float]:
    """Return medians, of the ratio those of the ratios within a round.

    Args:
        rounds: At least one.
    """
    return {
        "bare_seconds": statistics.median(each.bare_seconds for each in rounds),
        "server_seconds": statistics.median(each.server_seconds for each in rounds),
        "ratio": statistics.median(
            each.server_seconds / each.bare_seconds for each in rounds
        ),
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    head = ["texts a call", "bare engine, CPU s a text", "server, CPU s a text"]
    rows = [
        [size[key] for key in ("texts", "bare_seconds", "server_seconds", "ratio")]
        for size in figures["sizes"]
    ]
    return [
        f"Texts of {figures['tokens']} tokens, all gates, graph {figures['graph']}.",
        "",
        *table([*head, "ratio"], rows),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bundle", type=Path, required=True, help="of texts, not pairs"
    )
    parser.add_argument(
        "--tokens", type=int, default=32, help="of a text [%(default)s]"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 32))
    parser.add_argument(
        "--texts", type=int, default=128, help="in each round [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=7, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _spent(call: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    before = clock()
    for _ in range(times):
        call()
    return clock() - before


def _bare(bundle: Bundle, text: str, *, batch: int) -> Callable[[], object]:
    from tokenizers import Tokenizer  # noqa: PLC0415 - for this alone

    tokenizer = Tokenizer.from_str(bundle.files["tokenizer.json"].decode())
    ids = np.array(tokenizer.encode(text).ids, dtype=np.int64)
    row = Row(input_ids=ids, token_type_ids=np.zeros_like(ids))
    graph = bundle.graph(bundle.manifest.default_graph)
    session = open_graph(onnxruntime, graph, device="cpu")
    room = GROUP_TOKENS if bundle.manifest.default_graph in {"fp32", "w8"} else 0
    policy = UnpaddedBatches(max_group_tokens=room)
    waiting = [Shape(num_tokens=len(ids), fetches=())] * batch
    runs = []
    while waiting:
        size = len(policy.cut(waiting))
        waiting = waiting[size:]
        runs.append(feed([row] * size, bundle.manifest.inputs))
    return lambda: [session.run(_OUTPUTS, feeds) for feeds in runs]


if __name__ == "__main__":
    main()
