import pytest
import torch

from diffmask_training.classifier import Classifier
from diffmask_training.precision import in_bf16, settled_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx512_f": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_is_what_the_processor_has(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert settled_precision("auto", CPU) == expected
    assert settled_precision("fp32", CPU) == "fp32"
    assert settled_precision("bf16", CPU) == "bf16"


def test_device_without_16_bit_floats_computes_in_32() -> None:
    assert settled_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("max_tokens", "attention"), [(128, "eager"), (129, "sdpa")])
def test_attention_is_plain_for_short_texts_alone(
    max_tokens: int, attention: str, classifier: Classifier
) -> None:
    fast = in_bf16(classifier.encoder, max_tokens=max_tokens).model
    assert fast.dtype is torch.bfloat16
    assert fast.config._attn_implementation == attention
    assert classifier.encoder.model.dtype is torch.float32
    assert classifier.encoder.model.config._attn_implementation == "sdpa"
