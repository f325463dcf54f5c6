"""What a probe starts from: statistics of the states, and baselines."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.probes import Probe


@torch.no_grad()
def initialise(
    probe: Probe, encoder: Encoder, batches: Iterable[TensorBatch], *, mask_id: int
) -> None:
    """Set a probe's statistics and baselines from some training texts.

    Baselines start from what says nothing: for an input probe the embedding of [MASK],
    for a hidden probe the mean of each state over texts of [MASK] alone. The mean over
    the texts themselves would be a hint: with it in place of every token of the first
    block, a classifier of movie reviews says "negative" with probability 0.98; with
    that of [MASK] alone, with 0.3 to 0.5 at any state.

    Args:
        probe: The probe, changed in place.
        encoder: The frozen model.
        batches: The texts; a few hundred are enough.
        mask_id: Vocabulary index of the [MASK] token.
    """
    device = probe.mean.device
    sums = torch.zeros(2, *probe.mean.shape, device=device)
    masked = torch.zeros_like(probe.mean)
    num_tokens = 0
    for batch in (given.to(device) for given in batches):
        real = batch.attention_mask.bool()
        num_tokens += int(real.sum())
        states = encoder.capture(batch.inputs).hidden_states
        sums[0] += _sums(states, real, masked)
        sums[1] += _sums([state.float().square() for state in states], real, masked)
        if probe.shape.kind == "hidden":
            nothing = torch.full_like(batch.inputs["input_ids"], mask_id)
            captured = encoder.capture({**batch.inputs, "input_ids": nothing})
            masked += _sums(captured.hidden_states, real, masked)
    mean, square = sums / num_tokens
    # What a narrower state leaves of its row is zero and adds nothing.
    widths = torch.tensor(probe.shape.widths, device=device).unsqueeze(-1)
    variance = (square - mean.square()).sum(dim=1, keepdim=True) / widths
    probe.mean.copy_(mean)
    # One scale a state: some coordinates hardly vary, and dividing by their own
    # would make noise of them, more so in reduced precision.
    probe.scale.copy_(variance.sqrt().expand_as(mean))
    if probe.shape.kind == "hidden":
        probe.baselines.copy_(masked / num_tokens)
    else:
        words = encoder.model.get_input_embeddings()
        probe.baselines.copy_(words.weight[mask_id].unsqueeze(0))


def _sums(states: Sequence[Tensor], real: Tensor, like: Tensor) -> Tensor:
    # Of each state over the real tokens, `[layers, hidden]`, narrow ones zero behind.
    sums = torch.zeros_like(like)
    for index, state in enumerate(states):
        sums[index, : state.shape[-1]] = state[real].float().sum(dim=0)
    return sums
