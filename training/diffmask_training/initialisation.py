"""What a probe starts from: statistics of the states, and baselines."""

from collections.abc import Iterable

import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.probes import Probe


@torch.no_grad()
def initialise(
    probe: Probe, encoder: Encoder, batches: Iterable[TensorBatch], *, mask_id: int
) -> None:
    """Set a probe's statistics and baselines from some training texts.

    Args:
        probe: The probe, changed in place.
        encoder: The frozen model.
        batches: The texts; a few hundred are enough.
        mask_id: Vocabulary index of the [MASK] token, whose embedding an input
            baseline starts from. A hidden baseline starts from its state's mean.
    """
    device = probe.mean.device
    sums = torch.zeros(2, *probe.mean.shape, device=device)
    num_tokens = 0
    for batch in (given.to(device) for given in batches):
        captured = encoder.capture(batch.inputs)
        mask = batch.attention_mask.bool()
        num_tokens += int(mask.sum())
        for index, state in enumerate(captured.hidden_states):
            tokens = state[mask].float()
            width = tokens.shape[-1]
            sums[0, index, :width] += tokens.sum(dim=0)
            sums[1, index, :width] += tokens.square().sum(dim=0)
    mean, square = sums / num_tokens
    # What a narrower state leaves of its row is zero and adds nothing.
    widths = torch.tensor(probe.shape.widths, device=device).unsqueeze(-1)
    variance = (square - mean.square()).sum(dim=1, keepdim=True) / widths
    probe.mean.copy_(mean)
    # One scale a state: some coordinates hardly vary, and dividing by their own
    # would make noise of them, more so in reduced precision.
    probe.scale.copy_(variance.sqrt().expand_as(mean))
    if probe.shape.kind == "hidden":
        probe.baselines.copy_(mean)
    else:
        words = encoder.model.get_input_embeddings()
        probe.baselines.copy_(words.weight[mask_id].unsqueeze(0))
