"""What takes the place of a masked token of one text."""

from typing import Literal

import torch
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.probes import Probe
from diffmask_training.refinement.gated_text import GatedText

# `probe` takes the probe's learned vectors, `own` learns one for this text and state.
BaselineChoice = Literal["probe", "mask", "zero", "own"]


def baselines_of(
    classifier: Classifier,
    text: GatedText,
    probe: Probe | None,
    choice: BaselineChoice,
) -> list[Tensor]:
    """Return what takes a masked token's place in each group, `[hidden]` float32.

    Args:
        classifier: The frozen model.
        text: Its states are what a baseline of its own starts from.
        probe: Of the same kind; needed for its own baselines.
        choice: Which.

    Raises:
        ConfigError: The baseline cannot be had.
    """
    sites = text.sites
    if choice == "probe":
        if probe is None:
            raise ConfigError("the probe's baselines need a probe; or choose another")
        return [probe.baseline(site).detach() for site in sites]
    if choice == "zero":
        return [torch.zeros(state.shape[-1]) for state in text.states]
    if choice == "own":
        return [torch.nn.Parameter(state.mean(dim=0)) for state in text.states]
    if sites != (0,):
        raise ConfigError(
            "[MASK] is a word and stands for no hidden state; choose the baseline"
            " 'probe', 'zero' or 'own' for hidden gates"
        )
    words = classifier.encoder.model.get_input_embeddings().weight
    return [words[classifier.tokenizer.mask_token_id].detach().float()]
