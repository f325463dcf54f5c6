"""Adapter of a Hugging Face encoder: read its states, and run it from replaced ones.

State 0 is the output of the word embedding alone, state 1 the input of the first block,
the rest the outputs of the blocks (L + 2 in all). A state is replaced by a hook on the
module that makes it; blocks below pass their input through, so that a run from a high
state costs only what lies above it. The adapter proves itself when it is built.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from diffmask_training.errors import CheckpointError

SUPPORTED = ("bert",)
_TEXTS = ((2, 5, 7, 3), (2, 9, 3, 0))  # any ids; the second text has one padding token

Replacement = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What one plain run of the model gave.

    Attributes:
        logits: `[batch, labels]` float32.
        hidden_states: `num_states` tensors `[batch, tokens, hidden]`.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...]


class Encoder(nn.Module):
    """A frozen classifier whose states can be read and replaced.

    Attributes:
        model: The classifier, in evaluation mode, no parameter trainable.
        states: Names of the states, index 0 first.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model.requires_grad_(requires_grad=False).train(mode=False)
        modules = state_modules(model)
        self.states = tuple(name for name, _ in modules)
        self._sources = [module for _, module in modules]
        self._prove()

    @property
    def num_states(self) -> int:
        """Number of states: blocks and two more."""
        return len(self.states)

    @property
    def hidden_size(self) -> int:
        """Width of a state."""
        return int(self.model.config.hidden_size)

    def capture(
        self, inputs: Mapping[str, Tensor], replace_words: Replacement | None = None
    ) -> Captured:
        """Run the model and keep every state.

        Args:
            inputs: Model inputs, each `[batch, tokens]`.
            replace_words: Maps state 0, `[batch, tokens, hidden]`, to what the model
                reads in its place; the captured state 0 is the replaced one.
        """
        kept: list[Tensor] = []

        def keep(state: Tensor) -> Tensor:
            if not kept and replace_words is not None:
                state = replace_words(state)
            kept.append(state)
            return state

        with ExitStack() as stack:
            for source in self._sources:
                stack.enter_context(hooked(source, keep))
            logits = self.model(**inputs).logits
        return Captured(logits=logits, hidden_states=tuple(kept))

    def run_from(
        self, inputs: Mapping[str, Tensor], state_index: int, hidden_state: Tensor
    ) -> Tensor:
        """Run the model from one replaced state upwards.

        Args:
            inputs: Model inputs, each `[batch, tokens]`.
            state_index: Which state is replaced, in [0, num_states).
            hidden_state: `[batch, tokens, hidden]`. What stands in its place.

        Returns:
            `[batch, labels]` float32 logits.
        """
        return self.run_from_each(inputs, {state_index: hidden_state})

    def run_from_each(
        self, inputs: Mapping[str, Tensor], hidden_states: Mapping[int, Tensor]
    ) -> Tensor:
        """Run the model once on texts that enter it at different states.

        One run of many rows costs far less than a run for each state. A block computes
        only the rows that have entered below it and hands the others on.

        Args:
            inputs: Model inputs, each `[batch, tokens]`; the rows of the lowest state
                first, then those of the next, and so on.
            hidden_states: By index of the state, in rising order: `[rows, tokens,
                hidden]`, what stands in its place for its share of the rows.

        Returns:
            `[batch, labels]` float32 logits.
        """
        dtype = self.model.dtype
        entered = 0
        with ExitStack() as stack:
            for index, source in enumerate(self._sources):
                if index >= 2 and entered < len(inputs["input_ids"]):
                    stack.enter_context(_limited(source, entered))
                if index in hidden_states:
                    rows = hidden_states[index].to(dtype)
                    stack.enter_context(hooked(source, _enter(rows, entered)))
                    entered += len(rows)
            logits: Tensor = self.model(**inputs).logits
        return logits.float()

    def _prove(self) -> None:
        # Hooks can silently miss: a renamed module, an output that is a tuple, a block
        # that is called twice. So nothing is believed that was not just seen to hold.
        device = next(self.model.parameters()).device
        input_ids = torch.tensor(_TEXTS, device=device)
        inputs = {"input_ids": input_ids, "attention_mask": (input_ids != 0).long()}
        with torch.no_grad():
            plain = self.model(**inputs).logits.float()
            captured = self.capture(inputs)
            if len(captured.hidden_states) != self.num_states:
                raise CheckpointError(
                    f"expected {self.num_states} hidden states, the model made"
                    f" {len(captured.hidden_states)}"
                )
            for index, state in enumerate(captured.hidden_states):
                same = self.run_from(inputs, index, state)
                other = self.run_from(inputs, index, torch.zeros_like(state))
                if not torch.allclose(same, plain, atol=1e-5):
                    raise CheckpointError(
                        f"replacing state {self.states[index]} by itself changes the"
                        " prediction; this model cannot be explained faithfully"
                    )
                if torch.equal(other, plain):
                    raise CheckpointError(
                        f"replacing state {self.states[index]} by zeros changes"
                        f" nothing;"
                        " the model does not read it"
                    )


def state_modules(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    """Return the name of every state, index 0 first, and the module that makes it.

    Raises:
        CheckpointError: The model is of a family that is not supported.
    """
    model_type = model.config.model_type
    if model_type not in SUPPORTED:
        raise CheckpointError(
            f"model type {model_type!r} is not supported; supported are"
            f" {', '.join(SUPPORTED)}"
        )
    backbone: Any = model.base_model  # torch types every attribute as a tensor too
    return [
        ("word_embeddings", backbone.embeddings.word_embeddings),
        ("embeddings", backbone.embeddings),
        *(
            (f"block_{number}", block)
            for number, block in enumerate(backbone.encoder.layer, start=1)
        ),
    ]


@contextmanager
def hooked(module: nn.Module, replace: Replacement) -> Iterator[None]:
    """Pass a module's output, or the first of several, through `replace` meanwhile."""

    def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        # Layers return a bare tensor or a tuple, by family and library version; a bare
        # tensor must not be indexed, which would take the first text of the batch.
        if isinstance(output, Tensor):
            return replace(output)
        return (replace(output[0]), *output[1:])

    handle: RemovableHandle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _enter(rows: Tensor, first: int) -> Replacement:
    # Puts rows in their places and leaves the rest of the batch as it is.
    def enter(state: Tensor) -> Tensor:
        if len(rows) == len(state):
            return rows
        return torch.cat([state[:first], rows, state[first + len(rows) :]])

    return enter


@contextmanager
def _limited(block: nn.Module, num_rows: int) -> Iterator[None]:
    # The block computes the first rows of the batch and hands the others on as they
    # are. Whatever else it is given, such as a mask, is cut alike.
    compute = type(block).forward

    def forward(hidden_states: Tensor, *others: Any, **named: Any) -> Any:
        if num_rows == 0:
            return hidden_states

        def cut(value: Any) -> Any:
            is_batch = isinstance(value, Tensor) and len(value) == len(hidden_states)
            return value[:num_rows] if is_batch else value

        output = compute(
            block,
            hidden_states[:num_rows],
            *(cut(value) for value in others),
            **{name: cut(value) for name, value in named.items()},
        )
        state = output if isinstance(output, Tensor) else output[0]
        return torch.cat([state, hidden_states[num_rows:]])

    block.forward = forward
    try:
        yield
    finally:
        del block.forward
