"""Hard masks over many texts: of every state, beside random masks of the same size."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.masking import masked_logits
from diffmask_training.metrics.fidelity import MaskedText, mask_text
from diffmask_training.metrics.intervals import (
    Comparison,
    Estimate,
    compare,
    estimate_over_texts,
)
from diffmask_training.metrics.probabilities import divergence
from diffmask_training.probes import Probe, ProbeKind
from diffmask_training.removal import OPERATORS, Operator, removal_by

# The hard mask of the score stands beside those of the states.
SCORE = "score"
_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """How masks are measured.

    Attributes:
        margin: Allowed divergence, nats.
        random_masks: Random masks of the same size that make the control, >= 1.
        seed: Of masks and resamples.
    """

    margin: float
    random_masks: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFigures:
    """What one state's hard masks do, beside random masks of the same size.

    Attributes:
        kind: Input or hidden gates.
        state: Whose masks; `score` for those of the mean over states.
        removal: How masked tokens were removed.
        kept_share: Share of all tokens kept, special tokens counted.
        agreement: Share of predictions that the kept tokens alone give.
        complement_agreement: Share that the removed tokens alone give.
        divergence: From the prediction of the whole, nats.
        violation_rate: Share of texts with a divergence over the margin.
    """

    kind: ProbeKind
    state: str
    removal: Operator
    kept_share: Estimate
    agreement: Comparison
    complement_agreement: Comparison
    divergence: Comparison
    violation_rate: Comparison


# Shows the texts that are worked on while they are; may be the identity.
Track = Callable[[Sequence[ExplainedText]], Iterable[ExplainedText]]
# Of one text: what its mask shows, then what random masks of the same size do.
_Run = tuple[MaskedText, list[MaskedText]]


def measure_input_masks(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    *,
    states: Sequence[str],
    baseline: Tensor,
    settings: MaskSettings,
    track: Track = iter,
) -> tuple[MaskFigures, ...]:
    """Measure the input masks of every state and of the score, for each removal.

    Args:
        classifier: The frozen model.
        texts: Two or more.
        states: Names of the states.
        baseline: `[hidden]` float32. The probe's own.
        settings: How.
        track: Shows the progress.
    """
    names = (SCORE, *states)
    runs: dict[tuple[Operator, str], list[_Run]] = {
        (operator, name): [] for operator in OPERATORS for name in names
    }
    for index, text in enumerate(track(texts)):
        masks = np.concatenate([text.score_mask[None], text.hard_masks("input")])
        randoms = _shuffled(masks, index, settings)  # [draws, layers, tokens]
        stacked = np.concatenate([masks[None], randoms])
        flat = stacked.reshape(-1, masks.shape[-1])
        for operator in OPERATORS:
            predict = removal_by(operator, classifier, text.encoding, baseline=baseline)
            # All at once; what is asked for below is then known.
            predict(np.concatenate([flat, ~flat]))
            for row, name in enumerate(names):
                own, *others = (mask_text(predict, keep) for keep in stacked[:, row])
                runs[operator, name].append((own, others))
    return tuple(
        _figures(each, "input", name, operator, settings)
        for (operator, name), each in runs.items()
    )


@torch.no_grad()
def measure_hidden_masks(
    classifier: Classifier,
    probe: Probe,
    texts: Sequence[ExplainedText],
    *,
    settings: MaskSettings,
) -> tuple[MaskFigures, ...]:
    """Measure the hidden masks of every state, under the probe's own baselines.

    Args:
        classifier: The frozen model.
        probe: The hidden probe.
        texts: Two or more.
        settings: How.
    """
    states = classifier.encoder.states
    runs: list[list[_Run]] = [[] for _ in states]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
    for start in range(0, len(order), _BATCH_SIZE):
        indices = order[start : start + _BATCH_SIZE]
        rows = _hidden_runs(classifier, probe, texts, indices, settings)
        for collected, found in zip(runs, rows, strict=True):
            collected.extend(found)
    return tuple(
        _figures(each, "hidden", state, "learned_baseline", settings)
        for each, state in zip(runs, states, strict=True)
    )


def _hidden_runs(
    classifier: Classifier,
    probe: Probe,
    texts: Sequence[ExplainedText],
    indices: Sequence[int],
    settings: MaskSettings,
) -> list[list[_Run]]:
    """Return the runs of every state on one batch of texts."""
    chosen = [texts[index] for index in indices]
    encodings = [text.encoding for text in chosen]
    batch = collate(encodings, pad_id=classifier.tokenizer.pad_token_id)
    captured = classifier.encoder.capture(batch.inputs)
    masks = [text.hard_masks("hidden") for text in chosen]
    drawn = [
        np.concatenate([mask[None], _shuffled(mask, index, settings)])
        for mask, index in zip(masks, indices, strict=True)
    ]  # of each text, [1 + draws, layers, tokens]
    width = batch.attention_mask.shape[1]

    def run(keeps: Sequence[NDArray[np.bool_]], state: int) -> NDArray[np.float64]:
        gates = np.zeros((len(keeps), width), dtype=np.float32)
        for row, keep in enumerate(keeps):
            gates[row, : len(keep)] = keep
        logits = masked_logits(
            classifier.encoder,
            batch.inputs,
            captured,
            probe=probe,
            state_index=state,
            gates=torch.from_numpy(gates),
        )
        probabilities: NDArray[np.float64] = logits.double().softmax(dim=-1).numpy()
        return probabilities

    found: list[list[_Run]] = []
    for state in range(probe.shape.num_states):
        by_draw = []
        for draw in range(1 + settings.random_masks):
            keeps = [each[draw, state] for each in drawn]
            kept, removed = run(keeps, state), run([~keep for keep in keeps], state)
            by_draw.append(
                [
                    _masked(text, keep, alone, without)
                    for text, keep, alone, without in zip(
                        chosen, keeps, kept, removed, strict=True
                    )
                ]
            )
        own, *others = by_draw
        found.append(
            [(one, [each[row] for each in others]) for row, one in enumerate(own)]
        )
    return found


def _masked(
    text: ExplainedText,
    keep: NDArray[np.bool_],
    kept: NDArray[np.float64],
    removed: NDArray[np.float64],
) -> MaskedText:
    return MaskedText(
        num_tokens=keep.size,
        num_kept=int(keep.sum()),
        divergence=float(divergence(text.probabilities, kept)),
        is_agreeing=bool(kept.argmax() == text.label),
        is_complement_agreeing=bool(removed.argmax() == text.label),
    )


def _shuffled(
    masks: NDArray[np.bool_], index: int, settings: MaskSettings
) -> NDArray[np.bool_]:
    """Return masks that keep as many tokens elsewhere, `[draws, layers, tokens]`.

    One order of the tokens serves all states of a draw: masks of the same size are then
    the same, and are run once.
    """
    generator = np.random.default_rng([settings.seed, index])
    sizes = masks.sum(axis=-1, keepdims=True)
    num_tokens = masks.shape[-1]
    return np.stack(
        [
            generator.permutation(num_tokens) < sizes
            for _ in range(settings.random_masks)
        ]
    )


def _figures(
    runs: Sequence[_Run],
    kind: ProbeKind,
    state: str,
    removal: Operator,
    settings: MaskSettings,
) -> MaskFigures:
    def compared(value: Callable[[MaskedText], float]) -> Comparison:
        return compare(
            [value(own) for own, _ in runs],
            [float(np.mean([value(each) for each in others])) for _, others in runs],
            generator=np.random.default_rng(settings.seed),
        )

    return MaskFigures(
        kind=kind,
        state=state,
        removal=removal,
        kept_share=_kept_share([own for own, _ in runs], settings.seed),
        agreement=compared(lambda text: float(text.is_agreeing)),
        complement_agreement=compared(lambda text: float(text.is_complement_agreeing)),
        divergence=compared(lambda text: text.divergence),
        violation_rate=compared(lambda text: float(text.divergence > settings.margin)),
    )


def _kept_share(texts: Sequence[MaskedText], seed: int) -> Estimate:
    kept = np.array([text.num_kept for text in texts])
    tokens = np.array([text.num_tokens for text in texts])
    return estimate_over_texts(
        lambda weights: (weights @ kept) / (weights @ tokens),
        len(texts),
        generator=np.random.default_rng(seed),
    )
