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
        model_type = model.config.model_type
        if model_type not in SUPPORTED:
            raise CheckpointError(
                f"model type {model_type!r} is not supported; supported are"
                f" {', '.join(SUPPORTED)}"
            )
        self.model = model.requires_grad_(requires_grad=False).train(mode=False)
        backbone: Any = model.base_model  # torch types every attribute as a tensor too
        blocks: list[nn.Module] = list(backbone.encoder.layer)
        # The module that makes each state, by index.
        self._sources: list[nn.Module] = [
            backbone.embeddings.word_embeddings,
            backbone.embeddings,
            *blocks,
        ]
        self.states = (
            "word_embeddings",
            "embeddings",
            *(f"block_{number}" for number in range(1, len(blocks) + 1)),
        )
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
                stack.enter_context(_hooked(source, keep))
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
        with ExitStack() as stack:
            for block in self._sources[2:state_index]:
                stack.enter_context(_bypassed(block))
            source = self._sources[state_index]
            stack.enter_context(_hooked(source, lambda _: hidden_state))
            logits: Tensor = self.model(**inputs).logits
        return logits

    def _prove(self) -> None:
        # Hooks can silently miss: a renamed module, an output that is a tuple, a block
        # that is called twice. So nothing is believed that was not just seen to hold.
        device = next(self.model.parameters()).device
        input_ids = torch.tensor(_TEXTS, device=device)
        inputs = {"input_ids": input_ids, "attention_mask": (input_ids != 0).long()}
        with torch.no_grad():
            plain = self.model(**inputs).logits
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


@contextmanager
def _hooked(module: nn.Module, replace: Replacement) -> Iterator[None]:
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


@contextmanager
def _bypassed(block: nn.Module) -> Iterator[None]:
    block.forward = lambda hidden_states, *_args, **_kwargs: hidden_states
    try:
        yield
    finally:
        del block.forward
