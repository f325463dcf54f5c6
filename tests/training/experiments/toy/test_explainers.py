"""Each explainer on a model whose last state reads one token only."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffmask_training.experiments.toy.explainers import (
    guan,
    integrated_gradients,
    schulz,
)
from diffmask_training.experiments.toy.model import CountingModel
from diffmask_training.experiments.toy.task import Items, draw_items


class LastTokenModel(CountingModel):
    """Its logit is the sum of the last real token's state, less a constant."""

    offset = 0.0

    def run_from(self, items: Items, state_index: int, state: Tensor) -> Tensor:
        """Return that logit."""
        if state_index == 0:
            state = self._position_wise(items, state)
        last = items.attention_mask.sum(dim=-1) - 1
        return state[torch.arange(len(items)), last].sum(dim=-1) - self.offset


Explain = Callable[[LastTokenModel, Items, int], Tensor]


def _by_gradients(model: LastTokenModel, items: Items, index: int) -> Tensor:
    return integrated_gradients(model, items, state_index=index, num_steps=8)


def _by_schulz(model: LastTokenModel, items: Items, index: int) -> Tensor:
    return schulz(
        model,
        items,
        items,
        state_index=index,
        num_steps=150,
        generator=torch.Generator().manual_seed(0),
        weight=1e-3,
    )


def _by_guan(model: LastTokenModel, items: Items, index: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return guan(model, items, state_index=index, num_steps=150, generator=generator)


@pytest.mark.parametrize("explain", [_by_gradients, _by_schulz, _by_guan])
@pytest.mark.parametrize("index", [0, 1])
def test_the_token_that_is_read_stands_out(explain: Explain, index: int) -> None:
    torch.manual_seed(0)
    model = LastTokenModel(width=4).requires_grad_(requires_grad=False)
    items = draw_items(40, torch.Generator().manual_seed(1))
    items = items[items.attention_mask.sum(dim=-1) > 1]
    # Then either label occurs.
    model.offset = float(model(items).median())
    items = Items(
        queries=items.queries,
        digits=items.digits,
        attention_mask=items.attention_mask,
        labels=(model(items) > 0).long(),
    )
    # The mean state must not do as well, and the label not be a close call.
    mean = model.hidden_states(items)[index].mean(dim=0).expand(len(items), -1, -1)
    change = (model(items) - model.run_from(items, index, mean)).abs()
    items = items[change > change.median()]
    attribution = explain(model, items, index) * items.attention_mask
    last = items.attention_mask.sum(dim=-1) - 1
    is_top = attribution.argmax(dim=-1) == last
    assert len(items) > 4
    # By chance it would be about a quarter.
    assert is_top.float().mean() > 0.7


def test_integrated_gradients_add_up_to_the_change_of_the_logit() -> None:
    torch.manual_seed(0)
    model = LastTokenModel(width=4).requires_grad_(requires_grad=False)
    items = draw_items(5, torch.Generator().manual_seed(1))
    attribution = integrated_gradients(model, items, state_index=1, num_steps=4)
    # The model is linear in its states, so any number of steps is exact.
    torch.testing.assert_close(attribution.sum(dim=-1), model(items).abs())
