"""The GPU path: what ONNX Runtime offers, parity, latency and throughput.

Models of BERT-base and BERT-large shape with random weights and random probes, exported
as the project exports any model. All runs go through the service's own session. Without
a GPU it says so and ends well.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime

from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session

_EXPLAIN = ("logits", "input_gates", "hidden_gates")
_PREDICT = ("logits",)
_LAYERS_AND_WIDTH = {"tiny": (2, 128), "base": (12, 768), "large": (24, 1024)}
_VOCABULARY = 30_522
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "keep")


def main() -> None:
    """Print one section for each model."""
    arguments = _parse()
    providers = onnxruntime.get_available_providers()
    print(f"ONNX Runtime {onnxruntime.__version__} offers {', '.join(providers)}")
    device = arguments.device
    if device == "cuda" and "CUDAExecutionProvider" not in providers:
        print(
            "no GPU here: nothing is measured; install diffmask-service[cuda] on a"
            " machine with an NVIDIA GPU, or try the script itself with --device cpu"
        )
        return
    for name in arguments.models:
        single = build(*_LAYERS_AND_WIDTH[name])
        from diffmask_training.export.half import halve  # noqa: PLC0415 - needs torch

        graphs = {"fp32": single, "fp16": halve(single)}
        reference = _open(single, "cpu")
        for precision, graph in graphs.items():
            session = _open(graph, device)
            print(f"\nBERT-{name}, {precision}, on {session.device}")
            _print_parity(session, reference)
            _print_speed(session, arguments)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", choices=_LAYERS_AND_WIDTH, default=("base", "large")
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tokens", type=int, nargs="+", default=(32, 128, 384))
    parser.add_argument(
        "--batch-tokens", type=int, default=16_384, help="of a full run [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=31)
    return parser.parse_args()


def build(num_layers: int, width: int) -> onnx.ModelProto:
    """Return the exported graph of a random BERT with random probes.

    Args:
        num_layers: Its blocks.
        width: Its hidden size, a multiple of 64.
    """
    # Here and not above: without a GPU there is nothing to build.
    import torch  # noqa: PLC0415
    from transformers import AutoModelForSequenceClassification, BertConfig  # noqa: PLC0415

    from diffmask_training.encoder import Encoder  # noqa: PLC0415
    from diffmask_training.export.graph import FusedModule  # noqa: PLC0415
    from diffmask_training.export.onnx import export_graph  # noqa: PLC0415
    from diffmask_training.hard_concrete import HardConcreteShape  # noqa: PLC0415
    from diffmask_training.probes import Probe, ProbeKind, ProbeShape  # noqa: PLC0415

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_VOCABULARY,
        hidden_size=width,
        num_hidden_layers=num_layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    encoder = Encoder(AutoModelForSequenceClassification.from_config(config))

    def probe(kind: ProbeKind) -> Probe:
        return Probe(
            ProbeShape(
                kind=kind,
                num_states=num_layers + 2,
                hidden_size=width,
                bottleneck_size=width // 4,
                bound=5.0,
                initial_bias=1.0,
            )
        )

    module = FusedModule(
        encoder, probe("input"), probe("hidden"), HardConcreteShape()
    ).eval()
    return export_graph(module, vocabulary_size=_VOCABULARY)


def _open(model: onnx.ModelProto, device: str) -> Session:
    return Session(
        model.SerializeToString(),
        inputs=_INPUTS,
        name="graph",
        device="cuda" if device == "cuda" else "cpu",
    )


def _rows(lengths: Sequence[int]) -> list[Row]:
    generator = np.random.default_rng(0)
    return [
        Row(
            input_ids=generator.integers(1000, _VOCABULARY, n),
            token_type_ids=np.zeros(n, dtype=np.int64),
        )
        for n in lengths
    ]


def _print_parity(session: Session, reference: Session) -> None:
    # Lengths of one bucket, padded together, against each alone in float32 on a CPU.
    rows = _rows((3, 8, 40, 33, 37, 128, 113))
    groups = ([0, 1], [2, 3, 4], [5, 6])
    largest = dict.fromkeys(_EXPLAIN, 0.0)
    for group in groups:
        together = session.run([rows[i] for i in group], fetches=_EXPLAIN)
        for place, index in enumerate(group):
            alone = reference.run([rows[index]], fetches=_EXPLAIN)
            for name in _EXPLAIN:
                difference = _difference(together, alone, name, place)
                largest[name] = max(largest[name], difference)
    print(
        "largest difference from fp32 on the CPU, text by text: "
        + ", ".join(f"{name} {value:.1e}" for name, value in largest.items())
    )


def _difference(together: Outputs, alone: Outputs, name: str, place: int) -> float:
    expected = getattr(alone, name)[0]
    found = getattr(together, name)[place][..., : expected.shape[-1]]
    return float(np.abs(found - expected).max())


def _print_speed(session: Session, arguments: argparse.Namespace) -> None:
    print(
        f"{'tokens':>6} {'texts':>6} | {'explain ms':>10} {'predict ms':>10}"
        f" {'ratio':>6} | {'explained texts/s':>17}"
    )
    for num_tokens in arguments.tokens:
        for num_texts in (1, max(1, arguments.batch_tokens // num_tokens)):
            rows = _rows([num_tokens] * num_texts)
            for fetches in (_EXPLAIN, _PREDICT):
                session.run(rows, fetches=fetches)
            rounds = [
                (_seconds(session, rows, _EXPLAIN), _seconds(session, rows, _PREDICT))
                for _ in range(arguments.rounds)
            ]
            explain, predict = (
                statistics.median(each) for each in zip(*rounds, strict=True)
            )
            ratio = statistics.median(left / right for left, right in rounds)
            print(
                f"{num_tokens:>6} {num_texts:>6} | {explain * 1e3:>10.3f}"
                f" {predict * 1e3:>10.3f} {ratio:>6.3f} | {num_texts / explain:>17.1f}",
                flush=True,
            )


def _seconds(session: Session, rows: Sequence[Row], fetches: tuple[str, ...]) -> float:
    began = time.perf_counter()
    session.run(rows, fetches=fetches)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
