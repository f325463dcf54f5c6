"""Texts that a report shows whole."""

from collections.abc import Sequence

from diffmask_training.explained import ExplainedText
from diffmask_training.metrics.fidelity import mask_text
from diffmask_training.removal import removal_by
from diffmask_training.reports.subject import Subject
from diffmask_training.reports.values import Example, ExampleToken

# So many of the worst, and as many of the others.
_NUM_EXAMPLES = 4


def examples_of(
    subject: Subject, texts: Sequence[ExplainedText]
) -> tuple[Example, ...]:
    """Return the texts that are explained worst, and as many others."""
    examples = [_example(subject, text) for text in texts]
    worst = sorted(examples, key=lambda one: -one.divergence)[:_NUM_EXAMPLES]
    others = [one for one in examples if one not in worst][:_NUM_EXAMPLES]
    return (*worst, *others)


def _example(subject: Subject, text: ExplainedText) -> Example:
    predict = removal_by(
        "learned_baseline",
        subject.fast,
        text.encoding,
        baseline=subject.baseline,
    )
    mask = text.score_mask
    masked = mask_text(predict, mask)
    return Example(
        tokens=tuple(
            ExampleToken(
                text=token,
                score=float(text.score[index]),
                gates=tuple(text.gates["input"][:, index].tolist()),
                is_special=bool(text.is_special[index]),
                is_kept=bool(mask[index]),
            )
            for index, token in enumerate(text.tokens)
        ),
        label=subject.classifier.labels[text.label],
        probability=float(text.probabilities[text.label]),
        kept_probability=float(predict(mask[None])[0, text.label]),
        divergence=masked.divergence,
        is_agreeing=masked.is_agreeing,
    )
