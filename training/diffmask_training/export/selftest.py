"""Texts with the answers that a graph must give wherever it is served."""

from collections.abc import Mapping

from diffmask_service.bundle import Precision, SelfTest, SelfTestCase
from diffmask_training.classifier import Classifier
from diffmask_training.export.variants import Variant
from diffmask_training.records import Record

# Another processor sums in another order; a float32 graph of this depth then strays by
# about 1e-5, and gates at most by ten times that. In 8-bit arithmetic such a change
# tips a value over to the next level here and there: one of 3e-6 in the embeddings of
# these texts moved most gates by less than 1e-4 and one, whose sigmoid is steep, by
# 0.24.
_TOLERANCE: Mapping[Precision, float] = {
    "fp32": 1e-3,
    "w8": 1e-3,
    "fp16": 0.05,
    "int8": 0.5,
}
_TEXTS = (
    "Good.",
    "I would gladly watch it again.",
    "The plot goes nowhere, and it takes two hours to get there.",
    "Not bad at all - the ending, though, felt rushed and a little dull.",
    "Élodie's naïve café scene is a small wonder 🙂",
)


def build_selftest(
    classifier: Classifier, variant: Variant, *, pairs: bool
) -> SelfTest:
    """Return the self-test of a bundle.

    Args:
        classifier: The classifier.
        variant: The graph that is served unless another is asked for.
        pairs: Whether texts come in pairs.
    """
    records = [
        Record(text=text, text_pair=_TEXTS[0] if pairs else None) for text in _TEXTS
    ]
    encodings = classifier.encode(records, classifier.encoder.max_tokens)
    cases = []
    for record, encoding in zip(records, encodings, strict=True):
        outputs = variant.runtime.run(encoding)
        cases.append(
            SelfTestCase(
                text=record.text,
                text_pair=record.text_pair,
                input_ids=encoding.input_ids,
                logits=tuple(outputs.logits.ravel().tolist()),
                input_gates=tuple(tuple(row) for row in outputs.input_gates.tolist()),
                hidden_gates=tuple(tuple(row) for row in outputs.hidden_gates.tolist()),
            )
        )
    return SelfTest(tolerance=_TOLERANCE[variant.precision], cases=tuple(cases))
