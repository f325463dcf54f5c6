"""Attributions of one text's prediction to its hidden states, all states at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.experiments import noise


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStatistics:
    """What states are like over many tokens.

    Attributes:
        mean: `[layers, 1, hidden]` float32.
        scale: `[layers, 1, hidden]` float32. Standard deviation.
    """

    mean: Tensor
    scale: Tensor


class HiddenStates:
    """The states of one text, and the model as a function of each of them.

    Attributes:
        states: `[layers, tokens, hidden]` float32.
        logits: `[labels]` float32. Of the plain run.
        label: Index of the predicted label.
    """

    @torch.no_grad()
    def __init__(self, classifier: Classifier, encoding: Encoding) -> None:
        self._encoder = classifier.encoder
        batch = collate([encoding], pad_id=classifier.tokenizer.pad_token_id)
        self._inputs = batch.inputs
        captured = self._encoder.capture(batch.inputs)
        self.states = torch.cat([state.float() for state in captured.hidden_states])
        self.logits = captured.logits[0].float()
        self.label = int(self.logits.argmax())

    def run(self, states: Tensor) -> Tensor:
        """Return the logits of the runs that enter at each state, `[layers, labels]`.

        Args:
            states: `[layers, tokens, hidden]` float32.
        """
        by_index = {index: states[index : index + 1] for index in range(len(states))}
        return self._encoder.run_from_each(self._rows(len(states)), by_index)

    def run_from(self, index: int, states: Tensor) -> Tensor:
        """Return the logits of runs that all enter at one state, `[rows, labels]`.

        Args:
            index: Which state.
            states: `[rows, tokens, hidden]` float32.
        """
        return self._encoder.run_from(self._rows(len(states)), index, states)

    def _rows(self, count: int) -> dict[str, Tensor]:
        return {name: value.expand(count, -1) for name, value in self._inputs.items()}


@torch.no_grad()
def state_statistics(texts: Sequence[HiddenStates]) -> StateStatistics:
    """Return mean and standard deviation over all tokens of some texts."""
    tokens = torch.cat([text.states for text in texts], dim=1)
    return StateStatistics(
        mean=tokens.mean(dim=1, keepdim=True),
        scale=tokens.std(dim=1, keepdim=True) + 1e-8,
    )


@torch.no_grad()
def erasure(text: HiddenStates) -> NDArray[np.float64]:
    """Return how much the predicted label's logit falls when one state is zeroed.

    Args:
        text: The text.

    Returns:
        `[layers, tokens]` float64; below 0 where the logit rises.
    """
    num_layers, num_tokens, _ = text.states.shape
    found = np.empty((num_layers, num_tokens))
    without = 1.0 - torch.eye(num_tokens).unsqueeze(-1)
    for index in range(num_layers):
        logits = text.run_from(index, text.states[index] * without)[:, text.label]
        found[index] = (text.logits[text.label] - logits).double().numpy()
    return found


def integrated_gradients(
    text: HiddenStates, *, num_steps: int = 50
) -> NDArray[np.float64]:
    """Return the size of each state's integrated gradient from zero.

    Args:
        text: The text.
        num_steps: Points on the way.

    Returns:
        `[layers, tokens]` float64, >= 0.

    Source: Sundararajan et al. 2017, by Captum.
    """
    rows = []
    for index, state in enumerate(text.states):
        found = IntegratedGradients(partial(text.run_from, index)).attribute(
            state[None], target=text.label, n_steps=num_steps
        )
        rows.append(found[0].sum(dim=-1).abs().double().numpy())
    return np.stack(rows)


def schulz(
    text: HiddenStates,
    *,
    statistics: StateStatistics,
    num_steps: int,
    generator: torch.Generator,
    weight: float = 10.0,
) -> NDArray[np.float64]:
    """Return how little of each state may be replaced by noise, `[layers, tokens]`.

    Args:
        text: The text.
        statistics: What states are like.
        num_steps: Of the optimisation.
        generator: Source of the noise.
        weight: Of the information that is let through.
    """
    target = torch.full((len(text.states),), text.label)

    def error(states: Tensor) -> Tensor:
        return functional.cross_entropy(text.run(states), target)

    found = noise.schulz(
        text.states,
        _every_token(text),
        error=error,
        mean=statistics.mean,
        scale=statistics.scale,
        num_steps=num_steps,
        generator=generator,
        weight=weight,
    )
    return found.double().numpy()


def guan(
    text: HiddenStates, *, num_steps: int, generator: torch.Generator
) -> NDArray[np.float64]:
    """Return how little noise each state bears, `[layers, tokens]`.

    Args:
        text: The text.
        num_steps: Of the optimisation.
        generator: Source of the noise.
    """
    found = noise.guan(
        text.states,
        _every_token(text),
        run=text.run,
        num_steps=num_steps,
        generator=generator,
    )
    return found.double().numpy()


def top_masks(
    attribution: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return masks that keep the highest attributions of each state.

    Args:
        attribution: `[layers, tokens]`.
        counts: `[layers]` int64. How many tokens of each state are kept.

    Returns:
        `[layers, tokens]` bool.
    """
    order = np.argsort(-attribution, axis=1, kind="stable")
    places = np.argsort(order, axis=1, kind="stable")
    kept: NDArray[np.bool_] = places < counts[:, None]
    return kept


def random_attribution(
    text: HiddenStates, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return one order for each state, drawn at random, `[layers, tokens]`."""
    return generator.random(text.states.shape[:2])


def _every_token(text: HiddenStates) -> Tensor:
    return torch.ones(text.states.shape[:2], dtype=torch.int64)


Explain = Callable[[HiddenStates], NDArray[np.float64]]
