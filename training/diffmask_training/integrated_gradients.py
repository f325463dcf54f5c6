"""Integrated gradients by Captum, for comparison; Captum need not be installed.

The usual setting for texts: from a reference whose words are [MASK] to the text, the
logit of the predicted label, summed over the coordinates of a word's embedding. The
sign is kept, since a token that speaks against the prediction should be removed last.

Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks".
"""

import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.explained import ExplainedText
from diffmask_training.removal import word_embeddings, word_vector

DEFAULT_STEPS = 50


def integrated_gradients(
    classifier: Classifier, text: ExplainedText, *, steps: int = DEFAULT_STEPS
) -> NDArray[np.float64]:
    """Attribute the predicted label's logit to the words of one text.

    Args:
        classifier: The frozen model.
        text: The text; its own predicted label is attributed.
        steps: Of the Gauss-Legendre rule between reference and text.

    Returns:
        `[words]` float64, over the tokens that are not special. They sum to the logit
        of the text minus that of the reference, but for the error of the rule.

    Raises:
        ConfigError: Captum is not installed.
    """
    method = _captum().IntegratedGradients(_logits(classifier, text))
    words = word_embeddings(classifier, text.encoding)[None]
    mask = word_vector(classifier, classifier.tokenizer.mask_token_id)
    special = torch.from_numpy(text.is_special)[None, :, None]
    attributed = method.attribute(
        words,
        baselines=torch.where(special, words, mask),
        target=text.label,
        n_steps=steps,
        internal_batch_size=steps,
    )
    scores: NDArray[np.float64] = attributed[0].sum(dim=-1).double().numpy()
    return scores[text.words]


def _logits(classifier: Classifier, text: ExplainedText) -> Any:
    ids = torch.tensor([text.encoding.input_ids])
    segments = torch.tensor([text.encoding.token_type_ids])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": segments,
    }

    def forward(states: torch.Tensor) -> torch.Tensor:
        run = {name: value.expand(len(states), -1) for name, value in inputs.items()}
        return classifier.encoder.run_from(run, 0, states)

    return forward


def _captum() -> Any:
    try:
        return importlib.import_module("captum.attr")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "comparing with integrated gradients needs Captum: pip install captum"
        ) from error
