"""Admission: what is checked and taken before any work is done for a request.

Cheap checks come first, then the deadline, then a permit for the tokens that the
request may need; all of it is given back when the request ends, however it ends.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from diffmask_service.core.conditions import check_condition
from diffmask_service.core.selection import Selection, select
from diffmask_service.core.values import (
    ExplainOptions,
    ModelDescription,
    ModelInput,
    TokenizedText,
)
from diffmask_service.engine.budget import Permit, TokenBudget
from diffmask_service.engine.door import Door, Turn
from diffmask_service.engine.lifecycle import Lifecycle
from diffmask_service.engine.limits import EngineLimits, check_inputs, most_tokens
from diffmask_service.errors import NotReadyError, OverloadedError
from diffmask_service.telemetry import ModelTelemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that was let in.

    Attributes:
        selection: What it asked for.
        permit: Its share of the tokens in progress.
        is_small: Whether its text work is short enough for the event loop.
    """

    selection: Selection
    permit: Permit
    is_small: bool

    def settle(self, texts: Sequence[TokenizedText]) -> int:
        """Replace the estimate by the tokens that the request really needs, and tell.

        Args:
            texts: Its texts, tokenized.
        """
        num_tokens = sum(len(text.input_ids) for text in texts)
        num_tokens *= _num_runs(self.selection)
        self.permit.settle(num_tokens)
        return num_tokens


class Admission:
    """Lets requests in, or refuses them.

    Args:
        model: What they are checked against.
        limits: Bounds on them.
        lifecycle: Whether any is taken, and how many are in progress.
        door: Refuses those that would expire.
        budget: Tokens that may be in progress.
        telemetry: Told of every request turned away.
    """

    def __init__(
        self,
        model: ModelDescription,
        limits: EngineLimits,
        *,
        lifecycle: Lifecycle,
        door: Door,
        budget: TokenBudget,
        telemetry: ModelTelemetry,
    ) -> None:
        self._model = model
        self._limits = limits
        self._lifecycle = lifecycle
        self._door = door
        self._budget = budget
        self._telemetry = telemetry

    @contextmanager
    def admit(
        self, inputs: Sequence[ModelInput], options: ExplainOptions, turn: Turn
    ) -> Iterator[Admitted]:
        """Let a request in for as long as it takes.

        Args:
            inputs: Its texts, or their tokens.
            options: What the answers should hold.
            turn: When it runs.

        Raises:
            RequestError: A text or an option cannot be answered.
            OverloadedError: Too many tokens are in progress.
            NotReadyError: The engine drains.
            DeadlineError: Its time is up, or will be before its turn comes.
        """
        self._enter()
        try:
            selection = self._check(inputs, options)
            self._door.admit(turn, num_texts=len(inputs))
            sizes = [most_tokens(each) for each in inputs]
            # None that is answered has more than the model takes.
            num_tokens = sum(min(self._model.max_tokens, each) for each in sizes)
            permit = self._take(_num_runs(selection) * num_tokens)
            try:
                yield Admitted(
                    selection=selection,
                    permit=permit,
                    is_small=self._limits.is_small(num_tokens, num_bytes=sum(sizes)),
                )
            finally:
                permit.release()
        finally:
            self._lifecycle.leave()

    def _enter(self) -> None:
        try:
            self._lifecycle.enter()
        except NotReadyError:
            self._telemetry.reject("draining")
            raise

    def _check(
        self, inputs: Sequence[ModelInput], options: ExplainOptions
    ) -> Selection:
        model = self._model
        check_inputs(inputs, self._limits, takes_pairs=model.takes_pairs)
        selection = select(options, model.states)
        if options.explain_when is not None:
            check_condition(options.explain_when, task=model.task, labels=model.labels)
        return selection

    def _take(self, num_tokens: int) -> Permit:
        try:
            return self._budget.take(num_tokens)
        except OverloadedError:
            self._telemetry.reject("queue_full")
            raise


def _num_runs(selection: Selection) -> int:
    return 1 + len(selection.verify_index)
