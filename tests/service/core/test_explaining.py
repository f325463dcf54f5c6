import numpy as np

from diffmask_service.core.decoding import LabelDecoder, Reading
from diffmask_service.core.explaining import masks_to_verify, verify
from diffmask_service.core.predictions import LabelPrediction
from diffmask_service.core.selection import select
from diffmask_service.core.values import ExplainOptions, TextInput
from tests.support.tokens import tokenized

STATES = ("word_embeddings", "block_1")
GATES = np.array([[1.0, 0.75, 0.5], [0.5, 0.25, 0.0]], dtype=np.float32)


def test_the_default_mask_is_that_of_the_aggregate_score() -> None:
    selection = select(ExplainOptions(verify=True), STATES)
    (mask,) = masks_to_verify(GATES, selection, threshold=0.5)
    assert mask.tolist() == [1.0, 1.0, 0.0]
    assert mask.dtype == np.float32


def test_a_mask_of_a_state_reads_that_state_alone() -> None:
    options = ExplainOptions(verify=True, verify_states=("block_1",))
    (mask,) = masks_to_verify(GATES, select(options, STATES), threshold=0.5)
    assert mask.tolist() == [1.0, 0.0, 0.0]


def test_a_changed_label_is_no_agreement() -> None:
    options = ExplainOptions(verify=True, verify_states=("block_1",))
    reading = Reading(
        logits=np.array([0.0, 1.0], dtype=np.float32),
        text=TextInput(text="a b"),
        tokenized=tokenized(),
    )
    (verification,) = verify(
        reading,
        [np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)],
        [np.array([1.0, 0.0], dtype=np.float32)],
        selection=select(options, STATES),
        states=STATES,
        decoder=LabelDecoder(labels=("no", "yes")),
    )
    assert not verification.is_agreeing
    assert verification.state == "block_1"
    assert verification.kept_share == 0.25
    assert isinstance(verification.prediction, LabelPrediction)
    assert verification.prediction.label == "no"
    assert verification.divergence > 0
