"""The engine: texts in, predictions with their explanations out; the one door.

Order of a request: checked, admitted, tokenized, queued, run, verified, decoded. The
prediction and all gates of a text come from one and the same run of the graph.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from diffmask_service.bundle import Bundle
from diffmask_service.core.decoding import Reading
from diffmask_service.core.explaining import explain_text, masks_to_verify, verify
from diffmask_service.core.selection import Selection, select
from diffmask_service.core.values import (
    ExplainOptions,
    Explanation,
    Float32Array,
    ModelDescription,
    Reply,
    TextInput,
    Timings,
    TokenizedText,
)
from diffmask_service.engine.batcher import Batcher, Ran
from diffmask_service.engine.budget import Permit, TokenBudget
from diffmask_service.engine.lifecycle import Lifecycle
from diffmask_service.engine.limits import EngineLimits, check_inputs
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.session import Row
from diffmask_service.errors import NotReadyError, OverloadedError
from diffmask_service.telemetry import ModelTelemetry, Telemetry, outcome_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """One text after its first run and its verifying runs."""

    ran: Ran
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
        self._batcher = Batcher(
            loaded.session.run,
            num_workers=limits.workers,
            max_group_tokens=loaded.max_group_tokens,
            counter=telemetry,
            on_health=self._lifecycle.set_healthy,
            clock=clock,
        )
        self._budget = TokenBudget(
            limits.queue_tokens,
            estimate_seconds=self._batcher.estimate_seconds,
            on_change=telemetry.set_queue_tokens,
        )
        telemetry.watch_queue(self._batcher.count_waiting)
        # One thread for text work: it is short, and keeps the event loop free.
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
            StartError: ONNX Runtime is not installed.
        """
        loaded = load(bundle, precision=precision)
        model = loaded.description
        return cls(
            loaded,
            limits=limits or EngineLimits(),
            telemetry=(telemetry or Telemetry()).for_model(
                model.identity,
                states=model.states,
                threshold=model.hard_mask_threshold,
                labels=model.labels,
                references=bundle.manifest.reference,
            ),
        )

    @property
    def description(self) -> ModelDescription:
        """The model as its callers see it, with its present readiness."""
        return replace(self._description, is_ready=self._lifecycle.is_ready)

    def on_readiness(self, listener: Callable[[bool], None]) -> None:
        """Tell a listener whether requests are answered, now and at each change."""
        self._lifecycle.subscribe(listener)

    async def explain(
        self,
        inputs: Sequence[TextInput],
        options: ExplainOptions,
        *,
        deadline: float | None = None,
        request_id: str = "",
    ) -> Reply:
        """Predict texts and explain each prediction.

        Args:
            inputs: The texts; they never influence each other's answers.
            options: What the answers should hold.
            deadline: When the caller gives up, seconds of `time.monotonic`; None for
                the default.
            request_id: Identity of the call in the log.

        Raises:
            RequestError: A text or an option cannot be answered.
            OverloadedError: Too many tokens are in progress.
            NotReadyError: The engine drains.
            DeadlineError: The deadline passed before every text was run.
            InferenceError: The graph failed.
        """
        began = self._clock()
        if deadline is None:
            deadline = began + self._limits.default_deadline_seconds
        outcome = "failed"
        self._telemetry.begin_request()
        try:
            reply = await self._admit(inputs, options, deadline=deadline)
            outcome = "ok"
        except BaseException as error:
            outcome = outcome_of(error)
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
        self._telemetry.close()

    async def _admit(
        self, inputs: Sequence[TextInput], options: ExplainOptions, *, deadline: float
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
            runs = 1 + len(selection.verify_index)
            permit = self._take(inputs, runs=runs)
            try:
                texts, seconds = await self._off_loop(
                    "tokenize",
                    lambda: self._tokenize(inputs, truncate=options.truncate),
                )
                permit.settle(runs * sum(len(text.input_ids) for text in texts))
                return await self._answer(
                    inputs,
                    texts,
                    selection,
                    deadline=deadline,
                    tokenize_seconds=seconds,
                )
            finally:
                permit.release()
        finally:
            self._lifecycle.leave()

    def _take(self, inputs: Sequence[TextInput], *, runs: int) -> Permit:
        # Before tokenizing nobody knows the tokens; hardly a text has more of them
        # than bytes, and none that is answered has more than the model takes.
        num_tokens = sum(
            min(
                self._description.max_tokens,
                len(text.text.encode()) + len((text.text_pair or "").encode()) + 3,
            )
            for text in inputs
        )
        try:
            return self._budget.take(runs * num_tokens)
        except OverloadedError:
            self._telemetry.reject("queue_full")
            raise

    def _tokenize(
        self, inputs: Sequence[TextInput], *, truncate: bool
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
        *,
        deadline: float,
        tokenize_seconds: float,
    ) -> Reply:
        answered = await _all(
            [self._run(text, selection, deadline=deadline) for text in texts]
        )
        explanations, decode_seconds = await self._off_loop(
            "decode",
            lambda: [
                self._decode(*each, selection)
                for each in zip(inputs, texts, answered, strict=True)
            ],
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
        self, text: TokenizedText, selection: Selection, *, deadline: float
    ) -> _Answered:
        row = Row(input_ids=text.input_ids, token_type_ids=text.token_type_ids)
        began = self._clock()
        ran = await self._batcher.submit(
            row, fetches=selection.fetches, deadline=deadline
        )
        started, ended = began + ran.queue_seconds, self._clock()
        self._telemetry.trace("queue", began=began, ended=started)
        self._telemetry.trace(
            "infer", began=started, ended=ended, num_tokens=len(text.input_ids)
        )
        masks: tuple[Float32Array, ...] = ()
        if ran.outputs.input_gates is not None:
            masks = masks_to_verify(
                ran.outputs.input_gates[0],
                selection,
                threshold=self._description.hard_mask_threshold,
            )
        verified = await _all(
            [
                self._batcher.submit(
                    replace(row, keep=mask), fetches=("logits",), deadline=deadline
                )
                for mask in masks
            ]
        )
        if masks:
            self._telemetry.trace(
                "verify", began=ended, ended=self._clock(), num_masks=len(masks)
            )
        return _Answered(ran=ran, masks=masks, verified=tuple(verified))

    def _decode(
        self,
        text: TextInput,
        tokenized: TokenizedText,
        answered: _Answered,
        selection: Selection,
    ) -> Explanation:
        outputs = answered.ran.outputs
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
            verifications=verify(
                reading,
                answered.masks,
                [ran.outputs.logits[0] for ran in answered.verified],
                selection=selection,
                states=self._description.states,
                decoder=self._decoder,
            ),
        )
        self._telemetry.count_text(explanation, outputs)
        return explanation

    async def _off_loop(self, stage: str, work: Callable[[], _T]) -> tuple[_T, float]:
        def timed() -> tuple[_T, float]:
            began = self._clock()
            return work(), self._clock() - began

        loop = asyncio.get_running_loop()
        result, seconds = await loop.run_in_executor(self._text_worker, timed)
        ended = self._clock()
        self._telemetry.trace(stage, began=ended - seconds, ended=ended)
        return result, seconds


async def _all(awaitables: Sequence[Awaitable[_T]]) -> list[_T]:
    # When one fails, the others are of no more use: they leave the queue.
    futures = [asyncio.ensure_future(each) for each in awaitables]
    try:
        return await asyncio.gather(*futures)
    finally:
        for future in futures:
            future.cancel()
