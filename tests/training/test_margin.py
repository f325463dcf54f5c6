import math

import pytest
import torch

from diffmask_training.margin import Outputs, describe_outputs, margin_of


def test_outputs_of_two_coins_are_the_closed_form() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    outputs = describe_outputs(logits)
    assert outputs.entropy == pytest.approx(entropy, abs=1e-6)
    # Their mean is one half each.
    assert outputs.information == pytest.approx(math.log(2) - entropy, abs=1e-6)


def test_sure_model_has_no_entropy_and_loses_all_when_nothing_is_read() -> None:
    outputs = describe_outputs(torch.tensor([[0.0, 90.0], [90.0, 0.0]]))
    assert outputs.entropy == pytest.approx(0.0, abs=1e-9)
    assert outputs.information == pytest.approx(math.log(2), abs=1e-6)


def test_margin_is_a_share_of_the_entropy() -> None:
    # Those of the classifier behind the shipped bundle, on its validation texts.
    outputs = Outputs(entropy=0.1096, information=0.58)
    assert margin_of(outputs, 1.1) == pytest.approx(0.12, abs=2e-3)


def test_margin_of_a_vague_model_is_less_than_reading_nothing_costs() -> None:
    outputs = Outputs(entropy=1.2, information=0.3)
    assert margin_of(outputs, 1.1) == pytest.approx(0.15)


def test_margin_never_vanishes() -> None:
    assert margin_of(Outputs(entropy=0.0, information=0.7), 1.1) == 0.01
