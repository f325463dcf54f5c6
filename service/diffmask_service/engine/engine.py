"""The engine: texts in, predictions with their explanations out; the one door.

Order of a request: checked, admitted, tokenized, queued, run, verified, decoded. The
prediction and all gates of a text come from one and the same run of the graph.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from diffmask_service.bundle import Bundle
from diffmask_service.core.batching import BatchPolicy, PaddedBatches, UnpaddedBatches
from diffmask_service.core.decoding import Reading
from diffmask_service.core.predictions import Float32Array, Prediction
from diffmask_service.core.spelling import texts_of
from diffmask_service.core.statistics import ModelStatistics
from diffmask_service.core.values import (
    ExplainOptions,
    Explanation,
    ModelDescription,
    ModelInput,
    Reply,
    TextInput,
    TokenizedText,
)
from diffmask_service.engine.admission import Admission, Admitted
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.budget import TokenBudget
from diffmask_service.engine.door import Door, Turn
from diffmask_service.engine.lifecycle import Lifecycle
from diffmask_service.engine.limits import EngineLimits
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.passes import Answered, Passes
from diffmask_service.engine.replies import build_reply, explain_answered
from diffmask_service.engine.tally import Tally
from diffmask_service.engine.text_work import TextWork
from diffmask_service.errors import InvalidInput
from diffmask_service.telemetry import ModelTelemetry, Telemetry, outcome_of


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
        is_on_cpu = self._device == "cpu"
        self._num_workers = limits.workers if is_on_cpu else 1
        self._batcher = Batcher(
            self._tally.counting(loaded.session.run),
            num_workers=self._num_workers,
            # A thread that feeds a GPU hardly computes, and must not be late.
            niceness=limits.worker_niceness if is_on_cpu else 0,
            policy=_choose_policy(loaded, limits),
            priority_step_seconds=limits.priority_step_seconds,
            counter=telemetry,
            on_health=self._lifecycle.set_healthy,
            clock=clock,
        )
        self._door = Door(
            limits,
            foretell_seconds=self._batcher.foretell_seconds,
            counter=telemetry,
            clock=clock,
        )
        self._admission = Admission(
            loaded.description,
            limits,
            lifecycle=self._lifecycle,
            door=self._door,
            budget=TokenBudget(
                limits,
                estimate_seconds=self._batcher.estimate_seconds,
                on_change=telemetry.set_queue_tokens,
            ),
            telemetry=telemetry,
        )
        self._passes = Passes(
            self._batcher,
            decoder=loaded.decoder,
            threshold=loaded.description.hard_mask_threshold,
            telemetry=telemetry,
            clock=clock,
        )
        self._text_work = TextWork(telemetry=telemetry, clock=clock)
        telemetry.watch_queue(self._batcher.count_waiting)

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
                labels=model.labels,
                references=bundle.manifest.reference,
            ),
        )

    @property
    def description(self) -> ModelDescription:
        """The model as its callers see it, with its present readiness."""
        return replace(self._description, is_ready=self.is_ready)

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered now."""
        return self._lifecycle.is_ready

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
                in front will likely take longer.
            InferenceError: The graph failed.
        """
        began = self._clock()
        outcome, timings = "failed", None
        self._telemetry.begin_request()
        try:
            turn = self._door.turn(deadline=deadline, priority=priority)
            with self._admission.admit(inputs, options, turn) as admitted:
                reply = await self._answer(
                    inputs, options, admitted, turn, request_id=request_id
                )
            outcome, timings = "ok", reply.timings
            self._tally.answer(reply, seconds=self._clock() - began)
        except BaseException as error:
            outcome = outcome_of(error)
            self._tally.fail(seconds=self._clock() - began)
            raise
        finally:
            self._telemetry.end_request(
                outcome=outcome, seconds=self._clock() - began, timings=timings
            )
        return reply

    async def predict_kept(
        self,
        text: TextInput,
        keep: Float32Array,
        *,
        truncate: bool = False,
        deadline: float | None = None,
    ) -> Prediction:
        """Predict a text from some of its tokens, as a verification does.

        Args:
            text: The text.
            keep: `[tokens]` float32, 1 keeps a token and 0 masks it; one for each token
                that the model reads.
            truncate: Cut a text over the token limit instead of refusing it.
            deadline: When the caller gives up, as in `explain`.

        Raises:
            InvalidInput: The text has another number of tokens.
            DiffMaskError: As for `explain`.
        """
        options = ExplainOptions(gates=frozenset(), truncate=truncate)
        turn = self._door.turn(deadline=deadline, priority=0)
        with self._admission.admit([text], options, turn) as admitted:
            done = await self._text_work.do(
                "tokenize",
                lambda: self._tokenize([text], truncate=truncate),
                is_small=admitted.is_small,
            )
            (tokenized,) = done.value
            if keep.shape != tokenized.input_ids.shape:
                raise InvalidInput(
                    f"the text has {len(tokenized.input_ids)} tokens, and `keep` has"
                    f" {len(keep)}"
                )
            admitted.settle([tokenized])
            logits = await self._passes.run_kept(tokenized, keep, turn)
        return self._decoder.decode(
            Reading(logits=logits, text=text, tokenized=tokenized)
        )

    async def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests and wait for those in progress.

        Args:
            timeout_seconds: Longest wait, seconds, >= 0.

        Returns:
            Whether all of them ended in time.
        """
        return await self._lifecycle.drain(timeout_seconds)

    async def join(self) -> None:
        """Wait for work whose callers have left, without holding up the event loop.

        To be called after a drain in which every request ended; then `close` does not
        wait any more.
        """
        await self._batcher.join()
        await self._text_work.join()

    def close(self) -> None:
        """Fail what still waits and free the threads; the engine is of no more use.

        Holds up the event loop until the runs in progress have ended.
        """
        self._lifecycle.close()
        self._batcher.close()
        self._text_work.close()
        self._telemetry.close()

    async def _answer(
        self,
        inputs: Sequence[ModelInput],
        options: ExplainOptions,
        admitted: Admitted,
        turn: Turn,
        *,
        request_id: str,
    ) -> Reply:
        tokenized = await self._text_work.do(
            "tokenize",
            lambda: self._tokenize(inputs, truncate=options.truncate),
            is_small=admitted.is_small,
        )
        texts, selection = tokenized.value, admitted.selection
        self._door.take_up(
            turn, num_texts=len(inputs), num_tokens=admitted.settle(texts)
        )
        answered = await self._passes.run(
            texts_of(inputs, texts), texts, selection, turn
        )
        explanations = await self._text_work.do(
            "decode",
            lambda: [
                self._explain(each, is_left_out=each.selection is not selection)
                for each in answered
            ],
            is_small=admitted.is_small,
        )
        return build_reply(
            answered,
            explanations,
            model=self._description,
            selection=selection,
            tokenize_seconds=tokenized.seconds,
            request_id=request_id,
        )

    def _tokenize(
        self, inputs: Sequence[ModelInput], *, truncate: bool
    ) -> list[TokenizedText]:
        return [
            self._tokenizer.tokenize(text, truncate=truncate, where=f"inputs[{index}]")
            for index, text in enumerate(inputs)
        ]

    def _explain(self, answered: Answered, *, is_left_out: bool) -> Explanation:
        explanation = explain_answered(
            answered,
            model=self._description,
            decoder=self._decoder,
            is_left_out=is_left_out,
        )
        self._telemetry.count_text(
            explanation,
            answered.ran.outputs,
            is_masked=bool(answered.text.masked_tokens),
        )
        return explanation


def _choose_policy(loaded: Loaded, limits: EngineLimits) -> BatchPolicy:
    if loaded.session.device == "cuda":
        return PaddedBatches(max_batch_tokens=limits.max_batch_tokens)
    return UnpaddedBatches(max_group_tokens=loaded.max_group_tokens)
