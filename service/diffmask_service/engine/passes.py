"""The runs of a request: those that answer, and those that verify the answers."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from diffmask_service.core.conditions import is_met
from diffmask_service.core.decoding import Decoder, Reading
from diffmask_service.core.explaining import keep_of, masks_to_verify
from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.selection import Selection
from diffmask_service.core.values import TextInput, TokenizedText
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.door import Turn
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.submission import Ran
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
    """Has requests run, and verified where that was asked for.

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
        texts: Sequence[TextInput],
        tokenized: Sequence[TokenizedText],
        selection: Selection,
        turn: Turn,
    ) -> list[Answered]:
        """Run the texts of a request, and the masks that are to be verified.

        Args:
            texts: The texts, at least one.
            tokenized: Their tokens.
            selection: What was asked for.
            turn: When the request runs.

        Raises:
            DeadlineError: The deadline passed before all of it was run.
            InferenceError: The graph failed.
            NotReadyError: The engine was closed.
        """
        rows = [
            Row(
                input_ids=tokens.input_ids,
                token_type_ids=tokens.token_type_ids,
                keep=keep_of(text, tokens),
            )
            for text, tokens in zip(texts, tokenized, strict=True)
        ]
        rans = await self._submit(rows, selection.fetches, turn)
        answered = [
            self._choose(text, tokens, row, ran, selection)
            for text, tokens, row, ran in zip(texts, tokenized, rows, rans, strict=True)
        ]
        if any(each.masks for each in answered):
            return await self._verify(answered, rows, turn)
        return answered

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
        (ran,) = await self._submit([row], ("logits",), turn)
        logits: Float32Array = ran.outputs.logits[0]
        return logits

    def _choose(
        self,
        text: TextInput,
        tokenized: TokenizedText,
        row: Row,
        ran: Ran,
        selection: Selection,
    ) -> Answered:
        """Return one text after its first run, with what is still to be verified."""
        waited_from = ran.began - ran.queue_seconds
        self._telemetry.trace("queue", began=waited_from, ended=ran.began)
        self._telemetry.trace(
            "infer", began=ran.began, ended=ran.ended, num_tokens=len(row.input_ids)
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
        return Answered(
            text=text,
            tokenized=tokenized,
            ran=ran,
            selection=selection,
            masks=masks,
            verified=(),
        )

    def _leaves_out(self, selection: Selection, reading: Reading) -> bool:
        condition = selection.options.explain_when
        if condition is None or not selection.explains:
            return False
        return not is_met(condition, self._decoder.decode(reading))

    async def _verify(
        self, answered: Sequence[Answered], rows: Sequence[Row], turn: Turn
    ) -> list[Answered]:
        began = self._clock()
        masked = [
            replace(row, keep=mask)
            for each, row in zip(answered, rows, strict=True)
            for mask in each.masks
        ]
        rans = iter(await self._submit(masked, ("logits",), turn))
        verified = []
        for each in answered:
            runs = tuple(itertools.islice(rans, len(each.masks)))
            verified.append(replace(each, verified=runs))
            if runs:
                ended = max(ran.ended for ran in runs)
                self._telemetry.trace(
                    "verify", began=began, ended=ended, num_masks=len(runs)
                )
        return verified

    async def _submit(
        self, rows: Sequence[Row], fetches: tuple[str, ...], turn: Turn
    ) -> list[Ran]:
        return await self._batcher.submit(
            rows,
            fetches=fetches,
            deadline=turn.deadline,
            arrived=turn.arrived,
            priority=turn.priority,
        )
