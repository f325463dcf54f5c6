"""What the model says of a text when its caller hides tokens from it."""

import numpy as np
import pytest

from diffmask_service.core.explaining import masks_to_verify
from diffmask_service.core.selection import select
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InvalidInput
from diffmask_service.telemetry import Telemetry
from tests.support.engine import TEXT, counted
from tests.support.replies import labelled
from tests.support.tiny import STATES, tiny_logits

TOKENS = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")


async def test_masked_tokens_are_out_of_the_model_s_sight(engine: Engine) -> None:
    masked = TextInput(text=TEXT, masked_tokens=(0, 2))
    reply = await engine.explain([TextInput(text=TEXT), masked], ExplainOptions())
    whole, rest = (labelled(each.prediction) for each in reply.explanations)
    kept = [False, True, False, True, True, True]
    assert whole.logits.tolist() == tiny_logits(TOKENS).tolist()
    assert rest.logits.tolist() == tiny_logits(TOKENS, kept=kept).tolist()


async def test_a_verified_mask_keeps_nothing_that_is_masked(engine: Engine) -> None:
    # The mask of the score alone keeps "fun", the only one.
    text = TextInput(text=TEXT, masked_tokens=(2,))
    reply = await engine.explain([text], ExplainOptions(verify=True))
    (verification,) = reply.explanations[0].verifications
    assert verification.kept_share == 0
    assert labelled(verification.prediction).logits.tolist() == [0, 0]


def test_masks_and_what_is_kept_are_joined() -> None:
    gates = np.array([[0.9, 0.1, 0.9], [0.9, 0.1, 0.9]], dtype=np.float32)
    keep = np.array([0, 1, 1], dtype=np.float32)
    selection = select(ExplainOptions(verify=True), ("one", "two"))
    (mask,) = masks_to_verify(gates, selection, threshold=0.5, keep=keep)
    assert mask.tolist() == [0, 0, 1]


async def test_masked_texts_are_left_out_of_the_figures_of_traffic(
    engine: Engine, telemetry: Telemetry
) -> None:
    text = TextInput(text=TEXT, masked_tokens=(1,))
    await engine.explain([text], ExplainOptions())
    assert counted(telemetry, "diffmask_texts_total", is_explained="true") == 0
    tokens = "diffmask_gate_tokens_total"
    assert counted(telemetry, tokens, kind="input", state=STATES[0]) == 0


@pytest.mark.parametrize("place", [6, -1])
async def test_a_place_outside_the_text_is_refused(engine: Engine, place: int) -> None:
    text = TextInput(text=TEXT, masked_tokens=(1, place))
    wanted = rf"inputs\[0\]\.masked_tokens: {place} is no token .* has 6"
    with pytest.raises(InvalidInput, match=wanted):
        await engine.explain([text], ExplainOptions())
