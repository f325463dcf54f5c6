"""The runs of one text: the one that answers, and those that verify the answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from diffmask_service.core.conditions import is_met
from diffmask_service.core.decoding import Decoder, Reading
from diffmask_service.core.explaining import keep_of, masks_to_verify
from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.selection import Selection
from diffmask_service.core.values import TextInput, TokenizedText
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.door import Turn
from diffmask_service.engine.fanout import gather_or_cancel
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.line import Ran
from diffmask_service.telemetry import ModelTelemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One text after its first run and its verifying runs.

    Attributes:
        text: The text.
        tokenized: Its tokens.
        ran: Its first run.
        selection: What is told of it: the prediction alone where the explanation is
            left out.
        masks: For each verified mask `[tokens]` float32, 0 or 1.
        verified: A run for each of them.
    """

    text: TextInput
    tokenized: TokenizedText
    ran: Ran
    selection: Selection
    masks: tuple[Float32Array, ...]
    verified: tuple[Ran, ...]

    @property
    def reading(self) -> Reading:
        """What the model made of the whole text."""
        return Reading(
            logits=self.ran.outputs.logits[0], text=self.text, tokenized=self.tokenized
        )

    @property
    def runs(self) -> tuple[Ran, ...]:
        """All of its runs."""
        return (self.ran, *self.verified)


class Passes:
    """Has texts run, and verified where that was asked for.

    Args:
        batcher: Where runs are queued.
        decoder: What logits mean, for conditions on the prediction.
        threshold: Of the hard mask, in [0, 1].
        telemetry: Told of every stage.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        batcher: Batcher,
        *,
        decoder: Decoder,
        threshold: float,
        telemetry: ModelTelemetry,
        clock: Callable[[], float],
    ) -> None:
        self._batcher = batcher
        self._decoder = decoder
        self._threshold = threshold
        self._telemetry = telemetry
        self._clock = clock

    async def run(
        self,
        text: TextInput,
        tokenized: TokenizedText,
        selection: Selection,
        turn: Turn,
    ) -> Answered:
        """Run one text, and the masks of its explanation that are to be verified.

        Args:
            text: The text.
            tokenized: Its tokens.
            selection: What was asked for.
            turn: When its request runs.

        Raises:
            DeadlineError: The deadline passed before all of it was run.
            InferenceError: The graph failed.
            NotReadyError: The engine was closed.
        """
        row = Row(
            input_ids=tokenized.input_ids,
            token_type_ids=tokenized.token_type_ids,
            keep=keep_of(text, tokenized),
        )
        began = self._clock()
        ran = await self._submit(row, selection.fetches, turn)
        started, ended = began + ran.queue_seconds, self._clock()
        self._telemetry.trace("queue", began=began, ended=started)
        self._telemetry.trace(
            "infer", began=started, ended=ended, num_tokens=len(row.input_ids)
        )
        reading = Reading(logits=ran.outputs.logits[0], text=text, tokenized=tokenized)
        if self._leaves_out(selection, reading):
            selection = selection.prediction_alone()
        masks: tuple[Float32Array, ...] = ()
        if ran.outputs.input_gates is not None:
            masks = masks_to_verify(
                ran.outputs.input_gates[0],
                selection,
                threshold=self._threshold,
                keep=row.keep,
            )
        verified = await gather_or_cancel(
            [self._submit(replace(row, keep=m), ("logits",), turn) for m in masks]
        )
        if masks:
            self._telemetry.trace(
                "verify", began=ended, ended=self._clock(), num_masks=len(masks)
            )
        return Answered(
            text=text,
            tokenized=tokenized,
            ran=ran,
            selection=selection,
            masks=masks,
            verified=tuple(verified),
        )

    async def run_kept(
        self, tokenized: TokenizedText, keep: Float32Array, turn: Turn
    ) -> Float32Array:
        """Run one text from some of its tokens, as verifying runs do.

        Args:
            tokenized: Its tokens.
            keep: `[tokens]` float32, 1 keeps a token and 0 replaces it by the baseline.
            turn: When its request runs.

        Returns:
            Its logits, of the shape that `Outputs` names without `batch`.

        Raises:
            DeadlineError: The deadline passed before it was run.
            InferenceError: The graph failed.
            NotReadyError: The engine was closed.
        """
        row = Row(
            input_ids=tokenized.input_ids,
            token_type_ids=tokenized.token_type_ids,
            keep=keep,
        )
        ran = await self._submit(row, ("logits",), turn)
        logits: Float32Array = ran.outputs.logits[0]
        return logits

    def _leaves_out(self, selection: Selection, reading: Reading) -> bool:
        condition = selection.options.explain_when
        if condition is None or not selection.explains:
            return False
        return not is_met(condition, self._decoder.decode(reading))

    def _submit(
        self, row: Row, fetches: tuple[str, ...], turn: Turn
    ) -> asyncio.Future[Ran]:
        return self._batcher.submit(
            row,
            fetches=fetches,
            deadline=turn.deadline,
            arrived=turn.arrived,
            priority=turn.priority,
        )
