"""Random masks on what a classifier reads while it is fine-tuned.

Masked texts are what the probes will later show the model, and a model that never saw
one reacts to their oddness rather than to what they lack (Hase et al. 2021, "The
Out-of-Distribution Problem in Explainability").
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from diffmask_training.families import pools_every_token, state_modules
from diffmask_training.hooks import tapped


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomMasking:
    """How much is masked.

    Attributes:
        masked_share: Chance that a text is masked at all, in [0, 1].
        hidden_share: Chance that a masked text is masked at one of its hidden states,
            where the mean over the batch's tokens stands in for a token's vector,
            rather than in its words, where [MASK] does; in [0, 1].
        max_mask_rate: A masked text loses each token with a chance drawn evenly from
            0 to this, in [0, 1]. Special tokens and padding are never masked.
    """

    masked_share: float
    hidden_share: float
    max_mask_rate: float

    @contextmanager
    def applied(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> Iterator[None]:
        """Mask what `model` reads inside the context, while it is in training mode.

        Args:
            model: A classifier; of a supported family, if anything is to be masked.
            tokenizer: Names the [MASK] token and the special ones.

        Raises:
            CheckpointError: The model is of a family that is not supported.
        """
        if not self.masked_share:
            yield
            return
        special_ids = torch.tensor(tokenizer.all_special_ids)
        modules = [module for _, module in state_modules(model)]
        # A last state of which the head reads a special token alone is left out.
        num_states = len(modules) if pools_every_token(model) else len(modules) - 1
        drawn = _Drawn()

        def draw(
            module: torch.nn.Module, arguments: Any, named: Mapping[str, Any]
        ) -> tuple[Any, dict[str, Any]]:
            input_ids = named["input_ids"]
            drawn.masks = (
                self._draw(named, special_ids, num_states) if module.training else None
            )
            if drawn.masks is None:
                return arguments, dict(named)
            words = drawn.masks.at(0)
            masked_ids = input_ids.masked_fill(words, tokenizer.mask_token_id)
            return arguments, {**named, "input_ids": masked_ids}

        handle = model.register_forward_pre_hook(draw, with_kwargs=True)
        try:
            with tapped(modules, drawn.mask):
                yield
        finally:
            handle.remove()

    def _draw(
        self, named: Mapping[str, Any], special_ids: Tensor, num_states: int
    ) -> "_Masks":
        # Drawn on the CPU, whose generator a checkpoint of the trainer holds.
        input_ids, device = named["input_ids"].cpu(), named["input_ids"].device
        num_texts = len(input_ids)
        special = torch.isin(input_ids, special_ids)
        chosen = torch.rand(num_texts, 1) < self.masked_share
        rate = torch.rand(num_texts, 1) * self.max_mask_rate
        is_hidden = torch.rand(num_texts, 1) < self.hidden_share
        state = torch.randint(1, max(num_states, 2), (num_texts, 1))
        tokens = chosen & ~special & (torch.rand(input_ids.shape) < rate)
        return _Masks(
            tokens=tokens.to(device),
            real=named["attention_mask"].bool(),
            state=torch.where(is_hidden, state, 0).to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Masks:
    """What was drawn for one batch.

    Attributes:
        tokens: `[batch, tokens]` bool. What is masked.
        real: `[batch, tokens]` bool. What is not padding.
        state: `[batch, 1]` int64. At which state; 0 is the words.
    """

    tokens: Tensor
    real: Tensor
    state: Tensor

    def at(self, index: int) -> Tensor:
        """Return what is masked at one state, `[batch, tokens]` bool."""
        return self.tokens & (self.state == index)


class _Drawn:
    """The masks of the batch that is being run; none in evaluation."""

    def __init__(self) -> None:
        self.masks: _Masks | None = None

    def mask(self, index: int, state: Tensor) -> Tensor:
        """Return a state, `[batch, tokens, hidden]`, as it is to be read."""
        # State 0 is masked in the ids, where [MASK] stands for a word.
        if self.masks is None or index == 0:
            return state
        masked = self.masks.at(index)
        mean = state[self.masks.real].mean(dim=0).detach()
        return torch.where(masked.unsqueeze(-1), mean, state)
