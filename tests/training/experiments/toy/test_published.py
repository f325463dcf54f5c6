import pytest
import torch
from torch import nn

from diffmask_training.experiments.toy.published import Lookahead


def test_slow_weights_start_at_the_first_meeting_and_follow_half_of_the_way() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))
    lookahead = Lookahead([weight], period=2)
    seen = []
    for _ in range(6):
        with torch.no_grad():
            weight.add_(1.0)
        lookahead.step()
        seen.append(weight.item())
    # Slow: 2 at the first meeting, then (2 + 4) / 2 = 3, then (3 + 5) / 2 = 4.
    assert seen == pytest.approx([1.0, 2.0, 3.0, 3.0, 4.0, 4.0])
