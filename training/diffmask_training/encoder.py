"""Adapter of a Hugging Face encoder: read its states, and run it from replaced ones.

State 0 is the output of the word embedding alone, state 1 the input of the first block,
the rest the outputs of the blocks (L + 2 in all). A state is replaced by a hook on the
module that makes it; blocks below pass their input through, so that a run from a high
state costs only what lies above it. The adapter proves itself when it is built.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from diffmask_training.errors import CheckpointError
from diffmask_training.families import (
    family_of,
    input_names,
    max_tokens,
    state_modules,
)
from diffmask_training.hooks import limited, tapped
from diffmask_training.tasks import Task, task_of

# Two texts of as many tokens, for the proof; their ids are any but the padding's.
_TEXTS = ((2, 5, 7, 3), (2, 9, 6, 3))

Replacement = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What one plain run of the model gave.

    Attributes:
        logits: `[batch, labels]` float32, or `[batch, tokens, labels]` where each token
            has some; the task says which.
        hidden_states: `num_states` tensors `[batch, tokens, hidden]`; state 0 may be
            narrower or wider than the others.
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...]


class Encoder(nn.Module):
    """A frozen fine-tuned model whose states can be read and replaced.

    Attributes:
        model: The model, in evaluation mode, no parameter trainable.
        task: What it predicts.
        family: What is particular to its family.
        states: Names of the states, index 0 first.
        inputs: Names of the inputs that the model takes.
        widths: Width of each state, index 0 first.

    Raises:
        CheckpointError: The family or the head is not supported, or the model's states
            cannot be replaced faithfully.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.family = family_of(model)
        self.task: Task = task_of(model)
        self.model = model.requires_grad_(requires_grad=False).train(mode=False)
        modules = state_modules(model)
        self.states = tuple(name for name, _ in modules)
        self.inputs = input_names(model)
        self._sources = [module for _, module in modules]
        self.widths = self._prove()

    @property
    def num_states(self) -> int:
        """Number of states: blocks and two more."""
        return len(self.states)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.states) - 2

    @property
    def embedding_size(self) -> int:
        """Width of state 0."""
        return self.widths[0]

    @property
    def hidden_size(self) -> int:
        """Width of every other state."""
        return self.widths[-1]

    @property
    def max_tokens(self) -> int:
        """Longest input, tokens, special tokens counted."""
        return max_tokens(self.model)

    @torch.no_grad()
    def measure(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Measure what the task has to know of the model's own predictions, if any.

        Args:
            batches: Inputs of some training texts, a few hundred in all.
        """
        if self.task.value is not None:
            logits = [self.capture(inputs).logits for inputs in batches]
            self.task = self.task.measured(torch.cat(logits))

    def capture(
        self, inputs: Mapping[str, Tensor], replace_words: Replacement | None = None
    ) -> Captured:
        """Run the model and keep every state.

        Args:
            inputs: Model inputs, each `[batch, tokens]`; what the model does not take
                is passed over.
            replace_words: Maps state 0, `[batch, tokens, hidden]`, to what the model
                reads in its place; the captured state 0 is the replaced one.
        """
        return self._capture(
            inputs, {} if replace_words is None else {0: replace_words}
        )

    def run_from(
        self, inputs: Mapping[str, Tensor], state_index: int, hidden_state: Tensor
    ) -> Tensor:
        """Run the model from one replaced state upwards.

        Args:
            inputs: Model inputs, each `[batch, tokens]`.
            state_index: Which state is replaced, in [0, num_states).
            hidden_state: `[batch, tokens, hidden]`. What stands in its place.

        Returns:
            Float32 logits, of the shape that the plain run's have.
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
            Float32 logits, of the shape that the plain run's have.
        """
        entering: dict[int, Replacement] = {}
        num_rows = []
        entered = 0
        for index in range(self.num_states):
            num_rows.append(entered)
            if index in hidden_states:
                rows = hidden_states[index].to(self.model.dtype)
                entering[index] = _enter(rows, entered)
                entered += len(rows)
        blocks = limited(
            self._sources[2:],
            num_rows[2:],
            batched_arguments=self.family.batched_arguments,
        )
        with blocks:
            return self._capture(inputs, entering).logits.float()

    def _capture(
        self, inputs: Mapping[str, Tensor], replacements: Mapping[int, Replacement]
    ) -> Captured:
        kept: list[Tensor] = []

        def keep(index: int, state: Tensor) -> Tensor:
            replaced = replacements[index](state) if index in replacements else state
            kept.append(replaced)
            return replaced

        taken = {name: inputs[name] for name in self.inputs if name in inputs}
        with tapped(self._sources, keep):
            logits = self.task.outputs(self.model(**taken))
        return Captured(logits=logits, hidden_states=tuple(kept))

    @torch.no_grad()
    def _prove(self) -> tuple[int, ...]:
        # Hooks can silently miss: a renamed module, an output that is a tuple, a block
        # that is called twice. So nothing is believed that was not just seen to hold.
        inputs = self._proof_inputs()
        plain = self.task.outputs(self.model(**inputs)).float()
        captured = self.capture(inputs)
        widths = tuple(state.shape[-1] for state in captured.hidden_states)
        if len(widths) != self.num_states or len(set(widths[1:])) != 1:
            raise CheckpointError(
                f"expected {self.num_states} hidden states, all but the first of one"
                f" width; the model made states of the widths {list(widths)}"
            )
        for index in range(self.num_states):
            self._prove_state(inputs, captured, plain, index)
        return widths

    def _prove_state(
        self,
        inputs: Mapping[str, Tensor],
        captured: Captured,
        plain: Tensor,
        index: int,
    ) -> None:
        name, states = self.states[index], captured.hidden_states
        same = self.run_from(inputs, index, states[index])
        if not torch.allclose(same, plain, atol=1e-5):
            raise CheckpointError(
                f"replacing state {name} by itself changes the prediction; this model"
                " cannot be explained faithfully"
            )
        zeroed = self._capture(inputs, {index: torch.zeros_like})
        if torch.equal(zeroed.logits.float(), plain):
            raise CheckpointError(
                f"replacing state {name} by zeros changes nothing; the model does not"
                " read it"
            )
        below = zip(zeroed.hidden_states[:index], states[:index], strict=True)
        for number, (found, expected) in enumerate(below):
            if not torch.allclose(found, expected, atol=1e-5):
                raise CheckpointError(
                    f"replacing state {name} changes state {self.states[number]} below"
                    " it; this model cannot be explained faithfully"
                )
        self._prove_sufficient(inputs, captured, plain, index)

    def _prove_sufficient(
        self,
        inputs: Mapping[str, Tensor],
        captured: Captured,
        plain: Tensor,
        index: int,
    ) -> None:
        # The second text is given the first one's state, and must get its prediction:
        # then nothing leads past the state, such as a residual from further below.
        first = captured.hidden_states[0][:1]
        entering = {0: first, index: captured.hidden_states[index][:1]}
        if index == 0:
            entering = {0: first.repeat(2, 1, 1)}
        logits = self.run_from_each(inputs, entering)
        tolerance = math.sqrt(torch.finfo(self.model.dtype).eps)
        if not torch.allclose(logits, plain[[0, 0]], rtol=tolerance, atol=tolerance):
            raise CheckpointError(
                f"the prediction does not follow from state {self.states[index]} alone;"
                " the model reads something past it and cannot be explained faithfully"
            )

    def _proof_inputs(self) -> dict[str, Tensor]:
        pad_id = self.model.config.pad_token_id or 0
        device = next(self.model.parameters()).device
        tokens = torch.tensor(_TEXTS, device=device)
        tokens += tokens >= pad_id
        input_ids = nn.functional.pad(tokens, (0, 1), value=pad_id)
        return {
            "input_ids": input_ids,
            "attention_mask": (input_ids != pad_id).long(),
        }


def _enter(rows: Tensor, first: int) -> Replacement:
    # Puts rows in their places and leaves the rest of the batch as it is.
    def enter(state: Tensor) -> Tensor:
        if len(rows) == len(state):
            return rows
        return torch.cat([state[:first], rows, state[first + len(rows) :]])

    return enter
