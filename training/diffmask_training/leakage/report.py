"""What a manifest says of masks that give labels away: the tests that cost little."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from diffmask_service.bundle import LeakageReport, StateLeakage
from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.patterns import check_patterns
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.masking import masked_logits
from diffmask_training.probes import Probe, ProbeKind

# Emptied texts differ in nothing but their lengths.
_EMPTIED_TEXTS = 100
# As many as there are folds for the classifier of masks.
_FEWEST_OF_A_LABEL = 5


def report_leakage(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    *,
    kind: ProbeKind,
    probe: Probe,
) -> LeakageReport | None:
    """Measure how far a probe's masks give labels away, state by state.

    Args:
        classifier: The explained model.
        texts: The texts, with their gates.
        kind: Of the probe.
        probe: Has the baselines.

    Returns:
        None where fewer than two labels are predicted, or one for fewer than five
        texts.
    """
    states = classifier.encoder.states
    counts = np.unique([text.label for text in texts], return_counts=True)[1]
    if len(counts) < 2 or counts.min() < _FEWEST_OF_A_LABEL:
        return None
    majority = float(counts.max() / len(texts))
    checks = check_patterns(texts, kind, states, LeakageSettings())
    told = {check.state: majority + check.figure.mean for check in checks}
    empty = _empty(classifier, texts[:_EMPTIED_TEXTS], probe)
    return LeakageReport(
        majority_share=majority,
        states={
            state: StateLeakage(
                told_share=min(told[state], 1.0),
                empty_label=classifier.labels[int(probabilities.argmax())],
                empty_probability=float(probabilities.max()),
            )
            for state, probabilities in zip(states, empty, strict=True)
        },
    )


@torch.no_grad()
def _empty(
    classifier: Classifier, texts: Sequence[ExplainedText], probe: Probe
) -> NDArray[np.float64]:
    # `[layers, labels]`: mean probabilities with every token replaced at a state.
    encoder, pad_id = classifier.encoder, classifier.tokenizer.pad_token_id
    batch = collate([text.encoding for text in texts], pad_id=pad_id)
    captured = encoder.capture(batch.inputs)
    nothing = torch.zeros(batch.attention_mask.shape)
    return np.stack(
        [
            masked_logits(
                encoder,
                batch.inputs,
                captured,
                probe=probe,
                state_index=index,
                gates=nothing,
            )
            .double()
            .softmax(dim=-1)
            .mean(dim=0)
            .numpy()
            for index in range(encoder.num_states)
        ]
    )
