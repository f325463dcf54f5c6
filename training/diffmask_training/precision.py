"""What a fit computes with: 16-bit floats where the processor multiplies them."""

import copy

import torch

from diffmask_training.config import Precision, PrecisionChoice
from diffmask_training.encoder import Encoder

# Of a processor, as torch names what it can do.
_BF16 = ("avx512_bf16", "amx_bf16")
# Plain attention holds every pair of tokens, so it is for short texts.
_LONGEST_PLAIN = 128  # tokens


def settled_precision(choice: PrecisionChoice, device: torch.device) -> Precision:
    """Return the precision that `auto` stands for on a device, or the one chosen."""
    if choice != "auto":
        return choice
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp32"
    return "bf16" if device.type == "cpu" and _processor_has_bf16() else "fp32"


def in_bf16(encoder: Encoder, *, max_tokens: int) -> Encoder:
    """Return a copy of an encoder that computes with 16-bit floats.

    Args:
        encoder: In float32; stays as it is.
        max_tokens: Longest text that it will see, tokens.
    """
    # Weights are converted once; autocast would convert them at every run, since it
    # keeps only those that are trained.
    model = copy.deepcopy(encoder.model).bfloat16()
    if model.device.type == "cpu" and max_tokens <= _LONGEST_PLAIN:
        # Torch's fused attention is slow to go backward through in bf16 on a CPU: two
        # fifths of a step of a 6-layer BERT, which takes 0.53 s instead of 0.77 s with
        # plain attention. In float32 they are alike.
        model.set_attn_implementation("eager")
    fast = Encoder(model)
    fast.task = encoder.task
    return fast


def _processor_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BF16)
