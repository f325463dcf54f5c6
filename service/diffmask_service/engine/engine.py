"""The engine: texts in, predictions with their explanations out; the one door.

Order of a request: checked, admitted, tokenized, queued, run, verified, decoded. The
prediction and all gates of a text come from one and the same run of the graph.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from diffmask_service.bundle import Bundle
from diffmask_service.core.batching import BatchPolicy, PaddedBatches, UnpaddedBatches
from diffmask_service.core.conditions import check_condition, is_met
from diffmask_service.core.decoding import Reading
from diffmask_service.core.explaining import explain_text, masks_to_verify, verify
from diffmask_service.core.selection import Selection, select
from diffmask_service.core.spelling import texts_of
from diffmask_service.core.statistics import ModelStatistics
from diffmask_service.core.values import (
    ExplainOptions,
    Explanation,
    Float32Array,
    GateKind,
    ModelDescription,
    ModelInput,
    Reply,
    TextInput,
    Timings,
    TokenizedText,
)
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.budget import Permit, TokenBudget
from diffmask_service.engine.door import Door, Turn
from diffmask_service.engine.fanout import gather_or_cancel
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.lifecycle import Lifecycle
from diffmask_service.engine.limits import EngineLimits, check_inputs, most_tokens
from diffmask_service.engine.line import Ran
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.tally import Tally
from diffmask_service.errors import NotReadyError, OverloadedError
from diffmask_service.telemetry import ModelTelemetry, Telemetry, outcome_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """One text after its first run and its verifying runs."""

    ran: Ran
    selection: Selection
    masks: tuple[Float32Array, ...]
    verified: tuple[Ran, ...]


class Engine:
    """A loaded model that answers requests; open one with `Engine.open`."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        limits: EngineLimits,
        telemetry: ModelTelemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._description = loaded.description
        self._tokenizer = loaded.tokenizer
        self._decoder = loaded.decoder
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        self._lifecycle = Lifecycle()
        self._lifecycle.subscribe(lambda ready: telemetry.set_ready(is_ready=ready))
        self._tally = Tally(clock=clock)
        self._device = loaded.session.device
        self._num_workers = limits.workers if self._device == "cpu" else 1
        self._batcher = Batcher(
            self._tally.counting(loaded.session.run),
            num_workers=self._num_workers,
            policy=_choose_policy(loaded, limits),
            priority_step_seconds=limits.priority_step_seconds,
            counter=telemetry,
            on_health=self._lifecycle.set_healthy,
            clock=clock,
        )
        self._budget = TokenBudget(
            limits,
            estimate_seconds=self._batcher.estimate_seconds,
            on_change=telemetry.set_queue_tokens,
        )
        self._door = Door(
            limits,
            foretell_wait_seconds=self._batcher.foretell_wait_seconds,
            counter=telemetry,
            clock=clock,
        )
        # One thread for longer text work, which keeps the event loop free.
        self._text_worker = ThreadPoolExecutor(1, "diffmask-text")

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        *,
        limits: EngineLimits | None = None,
        telemetry: Telemetry | None = None,
        precision: str | None = None,
    ) -> "Engine":
        """Load a bundle and prove that it works here.

        Args:
            bundle: A bundle as `read_bundle` gives it.
            limits: Bounds on requests; None for the defaults.
            telemetry: Where to count; None counts for nobody.
            precision: Which of its graphs to run; None for its default.

        Raises:
            BundleError: It has no such graph, or the graph is not the one described.
            SelfTestError: The graph gives other values than at its export.
            StartError: ONNX Runtime is not installed, or offers no such device.
        """
        limits = limits or EngineLimits()
        loaded = load(bundle, precision=precision, device=limits.device)
        model = loaded.description
        return cls(
            loaded,
            limits=limits,
            telemetry=(telemetry or Telemetry()).for_model(
                model.identity,
                states=model.states,
                threshold=model.hard_mask_threshold,
            ),
        )

    @property
    def description(self) -> ModelDescription:
        """The model as its callers see it, with its present readiness."""
        return replace(self._description, is_ready=self._lifecycle.is_ready)

    @property
    def limits(self) -> EngineLimits:
        """Its bounds on requests."""
        return self._limits

    @property
    def device(self) -> str:
        """Where the graph runs, `cpu` or `cuda`."""
        return self._device

    @property
    def num_workers(self) -> int:
        """Runs of the graph at the same time."""
        return self._num_workers

    @property
    def statistics(self) -> ModelStatistics:
        """What it did so far."""
        return self._tally.statistics

    def on_readiness(self, listener: Callable[[bool], None]) -> None:
        """Tell a listener whether requests are answered, now and at each change."""
        self._lifecycle.subscribe(listener)

    async def explain(
        self,
        inputs: Sequence[ModelInput],
        options: ExplainOptions,
        *,
        deadline: float | None = None,
        priority: int = 0,
        request_id: str = "",
    ) -> Reply:
        """Predict texts and explain each prediction.

        Args:
            inputs: The texts, or their tokens; they never influence each other's
                answers.
            options: What the answers should hold.
            deadline: When the caller gives up, seconds of `time.monotonic`; None for
                the default. One beyond the longest that is allowed counts as that.
            priority: Level of the request, 1 for the highest; 0 for the default.
            request_id: Identity of the call in the log.

        Raises:
            RequestError: A text or an option cannot be answered.
            OverloadedError: Too many tokens are in progress.
            NotReadyError: The engine drains.
            DeadlineError: The deadline passed before every text was run, or what waits
                in front will surely take longer.
            InferenceError: The graph failed.
        """
        began = self._clock()
        outcome = "failed"
        self._telemetry.begin_request()
        try:
            turn = self._door.turn(deadline=deadline, priority=priority)
            reply = await self._admit(inputs, options, turn)
            outcome = "ok"
            self._tally.answer(reply, seconds=self._clock() - began)
        except BaseException as error:
            outcome = outcome_of(error)
            self._tally.fail(seconds=self._clock() - began)
            raise
        finally:
            self._telemetry.end_request(outcome=outcome, seconds=self._clock() - began)
        return replace(reply, request_id=request_id)

    async def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests and wait for those in progress.

        Args:
            timeout_seconds: Longest wait, seconds, >= 0.

        Returns:
            Whether all of them ended in time.
        """
        return await self._lifecycle.drain(timeout_seconds)

    def close(self) -> None:
        """Fail what still waits and free the threads; the engine is of no more use."""
        self._lifecycle.close()
        self._batcher.close()
        self._text_worker.shutdown(wait=True)

    async def _admit(
        self, inputs: Sequence[ModelInput], options: ExplainOptions, turn: Turn
    ) -> Reply:
        try:
            self._lifecycle.enter()
        except NotReadyError:
            self._telemetry.reject("draining")
            raise
        try:
            model = self._description
            check_inputs(inputs, self._limits, takes_pairs=model.takes_pairs)
            selection = select(options, model.states)
            if options.explain_when is not None:
                check_condition(
                    options.explain_when, task=model.task, labels=model.labels
                )
            self._door.admit(turn, num_texts=len(inputs))
            runs = 1 + len(selection.verify_index)
            num_tokens = self._most_tokens(inputs)
            is_small = num_tokens <= self._limits.inline_tokens
            permit = self._take(runs * num_tokens)
            try:
                texts, seconds = await self._off_loop(
                    lambda: self._tokenize(inputs, truncate=options.truncate),
                    is_small=is_small,
                )
                permit.settle(runs * sum(len(text.input_ids) for text in texts))
                self._door.check_time(
                    turn, num_texts=len(inputs), stage="its texts were run"
                )
                return await self._answer(
                    texts_of(inputs, texts),
                    texts,
                    selection,
                    turn,
                    tokenize_seconds=seconds,
                    is_small=is_small,
                )
            finally:
                permit.release()
        finally:
            self._lifecycle.leave()

    def _most_tokens(self, inputs: Sequence[ModelInput]) -> int:
        # None that is answered has more than the model takes.
        return sum(
            min(self._description.max_tokens, most_tokens(each)) for each in inputs
        )

    def _take(self, num_tokens: int) -> Permit:
        try:
            return self._budget.take(num_tokens)
        except OverloadedError:
            self._telemetry.reject("queue_full")
            raise

    def _tokenize(
        self, inputs: Sequence[ModelInput], *, truncate: bool
    ) -> list[TokenizedText]:
        return [
            self._tokenizer.tokenize(text, truncate=truncate, where=f"inputs[{index}]")
            for index, text in enumerate(inputs)
        ]

    async def _answer(
        self,
        inputs: Sequence[TextInput],
        texts: Sequence[TokenizedText],
        selection: Selection,
        turn: Turn,
        *,
        tokenize_seconds: float,
        is_small: bool,
    ) -> Reply:
        answered = await gather_or_cancel(
            [
                self._run(*each, selection, turn)
                for each in zip(inputs, texts, strict=True)
            ]
        )
        explanations, decode_seconds = await self._off_loop(
            lambda: [
                self._decode(*each, is_left_out=each[2].selection is not selection)
                for each in zip(inputs, texts, answered, strict=True)
            ],
            is_small=is_small,
        )
        runs = [ran for each in answered for ran in (each.ran, *each.verified)]
        timings = Timings(
            tokenize_seconds=tokenize_seconds,
            queue_seconds=max(ran.queue_seconds for ran in runs),
            infer_seconds=sum(ran.infer_seconds for ran in runs),
            decode_seconds=decode_seconds,
        )
        self._telemetry.observe_timings(timings)
        return Reply(
            model=self._description.identity,
            states=selection.states,
            explanations=tuple(explanations),
            timings=timings,
        )

    async def _run(
        self,
        text: TextInput,
        tokenized: TokenizedText,
        selection: Selection,
        turn: Turn,
    ) -> _Answered:
        row = Row(
            input_ids=tokenized.input_ids, token_type_ids=tokenized.token_type_ids
        )
        ran = await self._submit(row, selection.fetches, turn)
        condition = selection.options.explain_when
        if condition is not None and selection.explains:
            logits = ran.outputs.logits[0]
            reading = Reading(logits=logits, text=text, tokenized=tokenized)
            if not is_met(condition, self._decoder.decode(reading)):
                selection = selection.prediction_alone()
        masks: tuple[Float32Array, ...] = ()
        if ran.outputs.input_gates is not None:
            masks = masks_to_verify(
                ran.outputs.input_gates[0],
                selection,
                threshold=self._description.hard_mask_threshold,
            )
        verified = await gather_or_cancel(
            [self._submit(replace(row, keep=m), ("logits",), turn) for m in masks]
        )
        return _Answered(
            ran=ran, selection=selection, masks=masks, verified=tuple(verified)
        )

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

    def _decode(
        self,
        text: TextInput,
        tokenized: TokenizedText,
        answered: _Answered,
        *,
        is_left_out: bool,
    ) -> Explanation:
        outputs, selection = answered.ran.outputs, answered.selection
        input_gates, hidden_gates = outputs.input_gates, outputs.hidden_gates
        reading = Reading(logits=outputs.logits[0], text=text, tokenized=tokenized)
        explanation = explain_text(
            reading,
            input_gates=None if input_gates is None else input_gates[0],
            hidden_gates=None if hidden_gates is None else hidden_gates[0],
            selection=selection,
            decoder=self._decoder,
        )
        explanation = replace(
            explanation,
            is_left_out=is_left_out,
            verifications=verify(
                reading,
                answered.masks,
                [ran.outputs.logits[0] for ran in answered.verified],
                selection=selection,
                states=self._description.states,
                decoder=self._decoder,
            ),
        )
        if input_gates is not None:
            self._telemetry.count_gates(GateKind.INPUT, input_gates[0])
        if hidden_gates is not None:
            self._telemetry.count_gates(GateKind.HIDDEN, hidden_gates[0])
        self._telemetry.count_verifications(explanation)
        return explanation

    async def _off_loop(
        self, work: Callable[[], _T], *, is_small: bool
    ) -> tuple[_T, float]:
        def timed() -> tuple[_T, float]:
            began = self._clock()
            return work(), self._clock() - began

        # A change of threads and back costs more than a short text takes.
        if is_small:
            return timed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._text_worker, timed)


def _choose_policy(loaded: Loaded, limits: EngineLimits) -> BatchPolicy:
    if loaded.session.device == "cuda":
        return PaddedBatches(max_batch_tokens=limits.max_batch_tokens)
    return UnpaddedBatches(max_group_tokens=loaded.max_group_tokens)
