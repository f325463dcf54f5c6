"""The graph against PyTorch on texts of awkward lengths, and graph against graph.

PyTorch computes in float64 for it, but for what a family itself has in float32 (the
norms of DeBERTa, the rotations of ModernBERT). So what is measured is the graph's own
error: in float32 both stray from that, each by up to 8e-6 for a model of random weights
and 512 tokens, and their difference says little of either.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from diffmask_service.bundle import GraphFidelity, Parity
from diffmask_training.batches import Encoding, collate
from diffmask_training.errors import FidelityError, ParityError
from diffmask_training.export.graph import FusedModule
from diffmask_training.runtime import GraphOutputs, GraphRuntime, joined
from diffmask_training.tasks import Task

LENGTHS = (3, 4, 17, 128, 512)
TOLERANCE = 1e-5
# What a graph of lower precision must keep of the fp32 one.
MIN_RANK_CORRELATION = 0.99
MIN_LABEL_AGREEMENT = 0.995
# Positions that a mask hides, of twelve.
_HIDDEN = {"right": range(7, 12), "left": range(5), "scattered": (2, 5, 8)}


def in_float64(module: FusedModule) -> FusedModule:
    """Return a copy that computes in float64, twice the size of the module."""
    return copy.deepcopy(module).double()


def check_parity(
    exact: FusedModule,
    runtime: GraphRuntime,
    *,
    vocabulary_size: int,
    max_tokens: int,
    pad_id: int,
) -> Parity:
    """Compare the fp32 graph with PyTorch, each length alone and all in one batch.

    Args:
        exact: What was exported, of `in_float64`.
        runtime: The graph.
        vocabulary_size: Random ids come from below this.
        max_tokens: Longer lengths are left out, and this one is added.
        pad_id: Vocabulary index of the padding token.

    Raises:
        ParityError: Some logit or gate is off by more than the tolerance.
    """
    lengths = tuple(sorted({n for n in LENGTHS if n < max_tokens} | {max_tokens}))
    lengths = tuple(n for n in lengths if n <= max(LENGTHS))
    generator = np.random.default_rng(0)
    texts = [
        random_text(generator, n, vocabulary_size=vocabulary_size, pad_id=pad_id)
        for n in lengths
    ]
    largest = np.zeros(2)
    for group in [*([text] for text in texts), texts]:
        batch = collate(group, pad_id=pad_id)
        differences = _differences(
            exact, runtime, batch.inputs, batch.attention_mask.bool().numpy()
        )
        largest = np.maximum(largest, differences)
    parity = Parity(
        lengths=lengths,
        max_logit_difference=float(largest[0]),
        max_gate_difference=float(largest[1]),
        tolerance=TOLERANCE,
    )
    if not largest.max() <= TOLERANCE:
        raise ParityError(
            f"the graph and PyTorch differ by {largest[0]:.1e} in logits and"
            f" {largest[1]:.1e} in gates; allowed are {TOLERANCE:.0e}"
        )
    return parity


def random_text(
    generator: np.random.Generator,
    num_tokens: int,
    *,
    vocabulary_size: int,
    pad_id: int,
) -> Encoding:
    """Return random tokens in two segments, none of them the padding token.

    Args:
        generator: Source of randomness.
        num_tokens: Of both segments together.
        vocabulary_size: Ids come from below this.
        pad_id: Vocabulary index of the padding token.
    """
    ids = generator.integers(0, vocabulary_size - 1, num_tokens)
    ids += ids >= pad_id
    num_second = num_tokens // 2
    segments = (0,) * (num_tokens - num_second) + (1,) * num_second
    return Encoding(input_ids=tuple(ids.tolist()), token_type_ids=segments)


def supported_padding(
    exact: FusedModule,
    runtime: GraphRuntime,
    *,
    vocabulary_size: int,
    pad_id: int,
) -> Literal["any", "right"]:
    """Find out which attention masks the graph's attention honours.

    Some fused operators read the mask as a length, silently; so it is tried.

    Args:
        exact: What was exported, of `in_float64`.
        runtime: The graph.
        vocabulary_size: Random ids come from below this.
        pad_id: Vocabulary index of the padding token.

    Raises:
        ParityError: Not even right padding is honoured.
    """
    honoured = {}
    for shape, positions in _HIDDEN.items():
        generator = np.random.default_rng(1)
        texts = [
            random_text(generator, 12, vocabulary_size=vocabulary_size, pad_id=pad_id)
            for _ in range(2)
        ]
        inputs = collate(texts, pad_id=pad_id).inputs
        mask = inputs["attention_mask"]
        mask[0, list(positions)] = 0
        differences = _differences(exact, runtime, inputs, mask.bool().numpy())
        honoured[shape] = bool(differences.max() <= TOLERANCE)
    if not honoured["right"]:
        raise ParityError("the graph's attention does not honour right padding")
    return "any" if all(honoured.values()) else "right"


def compare_graphs(
    task: Task,
    texts: Sequence[Encoding],
    reference: Sequence[GraphOutputs],
    reduced: Sequence[GraphOutputs],
) -> GraphFidelity:
    """Compare a reduced-precision graph with the fp32 graph.

    Args:
        task: What both predict.
        texts: The texts.
        reference: Of the fp32 graph, one entry for each text.
        reduced: Of the other, over the same texts.
    """
    from scipy.stats import spearmanr  # noqa: PLC0415

    def stacked(outputs: Sequence[GraphOutputs], name: str) -> NDArray[np.float32]:
        return np.concatenate([getattr(output, name).ravel() for output in outputs])

    predicted = (
        [task.predict(run.logits, text) for run, text in zip(runs, texts, strict=True)]
        for runs in (reference, reduced)
    )
    logits = [stacked(runs, "logits") for runs in (reference, reduced)]
    pairs = {
        name: (stacked(reference, name), stacked(reduced, name))
        for name in ("input_gates", "hidden_gates")
    }
    return GraphFidelity(
        num_texts=len(reference),
        label_agreement=float(
            np.mean([task.agreement(*pair) for pair in zip(*predicted, strict=True)])
        ),
        input_gate_rank_correlation=float(spearmanr(*pairs["input_gates"]).statistic),
        hidden_gate_rank_correlation=float(spearmanr(*pairs["hidden_gates"]).statistic),
        max_gate_difference=max(
            float(np.abs(left - right).max()) for left, right in pairs.values()
        ),
        max_logit_difference=float(np.abs(logits[0] - logits[1]).max()),
    )


def is_faithful(fidelity: GraphFidelity) -> bool:
    """Return whether a graph of lower precision is true enough to the fp32 graph.

    Args:
        fidelity: How true it is.
    """
    ranks = (
        fidelity.input_gate_rank_correlation,
        fidelity.hidden_gate_rank_correlation,
    )
    # Written so that NaN, the correlation of constant gates, fails as well.
    return (
        all(rank >= MIN_RANK_CORRELATION for rank in ranks)
        and fidelity.label_agreement >= MIN_LABEL_AGREEMENT
    )


def check_fidelity(precision: str, fidelity: GraphFidelity) -> None:
    """Refuse a graph that is not true enough to the fp32 graph.

    Args:
        precision: Which graph.
        fidelity: How true it is.

    Raises:
        FidelityError: It strays too far.
    """
    if not is_faithful(fidelity):
        raise FidelityError(
            f"the {precision} graph strays from the fp32 graph: labels agree on"
            f" {fidelity.label_agreement:.2%} of texts (at least"
            f" {MIN_LABEL_AGREEMENT:.1%} are asked for), rank correlation is"
            f" {fidelity.input_gate_rank_correlation:.4f} of input gates and"
            f" {fidelity.hidden_gate_rank_correlation:.4f} of hidden gates (at least"
            f" {MIN_RANK_CORRELATION}); leave it out, or export it all the same with"
            " --force, which the manifest then says"
        )


@torch.no_grad()
def _differences(
    exact: FusedModule,
    runtime: GraphRuntime,
    inputs: dict[str, torch.Tensor],
    is_real: NDArray[np.bool_],
) -> NDArray[np.float64]:
    # Largest differences of logits and of gates at real tokens, under a random `keep`.
    generator = torch.Generator().manual_seed(2)
    keep = torch.rand(inputs["input_ids"].shape, generator=generator)
    *predictions, input_gates, hidden_gates = (
        output.numpy() for output in exact(inputs, keep.double())
    )
    expected = [joined(predictions), input_gates, hidden_gates]
    arrays = {name: value.numpy() for name, value in inputs.items()}
    found = runtime.run_batch(arrays, keep.numpy())
    gates = [
        np.abs(left - right).swapaxes(1, 2)[is_real].max()
        for left, right in zip(expected[1:], found[1:], strict=True)
    ]
    logits = np.abs(expected[0] - found[0])
    if logits.ndim > 2:
        logits = logits[is_real]
    return np.array([logits.max(), max(gates)])
