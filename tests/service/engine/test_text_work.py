"""Which work on texts is done on the event loop, and which beside it."""

import threading
from dataclasses import replace

import pytest

from diffmask_service.bundle import Bundle
from diffmask_service.core.values import ExplainOptions, ModelInput, TokenizedText
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.engine.loading import load
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.telemetry import Telemetry
from tests.support.engine import explain_one


class Watched(TextTokenizer):
    """The model's own, which notes the threads that it works on."""

    def __init__(self, inner: TextTokenizer) -> None:
        self._inner = inner
        self.threads: list[threading.Thread] = []

    def tokenize(
        self, text: ModelInput, *, truncate: bool, where: str
    ) -> TokenizedText:
        self.threads.append(threading.current_thread())
        return self._inner.tokenize(text, truncate=truncate, where=where)


@pytest.mark.parametrize(
    ("text", "is_on_loop"),
    [
        ("a funny movie", True),
        # Cut to a few tokens, but read whole before.
        (" ".join(["movie"] * 1000), False),
    ],
)
async def test_long_texts_are_tokenized_beside_the_loop_whatever_the_model_takes(
    tiny_bundle: Bundle, text: str, is_on_loop: bool
) -> None:
    loaded = load(tiny_bundle, precision=None)
    model = loaded.description
    tokenizer = Watched(loaded.tokenizer)
    of_model = Telemetry().for_model(
        model.identity, states=model.states, threshold=model.hard_mask_threshold
    )
    engine = Engine(
        replace(loaded, tokenizer=tokenizer), limits=EngineLimits(), telemetry=of_model
    )
    try:
        await explain_one(engine, text, ExplainOptions(truncate=True))
    finally:
        engine.close()
    (thread,) = tokenizer.threads
    assert (thread is threading.main_thread()) is is_on_loop
