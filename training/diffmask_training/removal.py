"""Ways of taking tokens out of a text: the model as a function of what is kept.

Scores of masked texts mix how much a token matters with how the model takes to an odd
input, and each way of removal is odd in its own manner. So figures are measured under
several, and reported apart.

Source: Hase et al. 2021, "The Out-of-Distribution Problem in Explainability", who find
the first two the least harmful of five; the third is what the probe was fitted with.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.metrics.probabilities import Predict
from diffmask_training.metrics.soft_erasure import SoftPredict

# `mask_token` puts [MASK] in a token's place; `attention_drop` lets no token attend to
# it; `learned_baseline` puts the probe's own vector there.
Operator = Literal["mask_token", "attention_drop", "learned_baseline"]
OPERATORS: tuple[Operator, ...] = ("mask_token", "attention_drop", "learned_baseline")
# Tokens that share a run of the model, about.
_RUN_TOKENS = 4096


def removal_by(
    operator: Operator,
    classifier: Classifier,
    encoding: Encoding,
    *,
    baseline: Tensor,
) -> Predict:
    """Return the model on one text as a function of the tokens that are kept.

    Every mask is run once; asking again costs nothing.

    Args:
        operator: How tokens are removed.
        classifier: The frozen model.
        encoding: The text.
        baseline: `[hidden]` float32. What `learned_baseline` puts in.

    Returns:
        From `[n, tokens]` bool over all tokens of the text to `[n, labels]`. Attention
        needs something to attend to: of a mask that drops all tokens,
        `attention_drop` keeps the first and the last, the special ones.
    """
    if operator == "attention_drop":
        return _remembered(_attention_drop(classifier, encoding))
    vector = baseline
    if operator == "mask_token":
        vector = word_vector(classifier, classifier.tokenizer.mask_token_id)
    return _remembered(_replacement(classifier, encoding, vector.detach()))


def over_words(predict: Predict, is_special: NDArray[np.bool_]) -> Predict:
    """Return the same model as a function of its words; special tokens always stay.

    Args:
        predict: A function of `[n, tokens]`.
        is_special: `[tokens]` bool.

    Returns:
        A function of `[n, words]`, the tokens that are not special.
    """

    def over(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        whole = np.ones((len(keep), len(is_special)), dtype=np.bool_)
        whole[:, ~is_special] = keep
        return predict(whole)

    return over


def soft_removal(
    classifier: Classifier, encoding: Encoding, is_special: NDArray[np.bool_]
) -> SoftPredict:
    """Return the model on one text whose embedding coordinates are zeroed by chance.

    Args:
        classifier: The frozen model.
        encoding: The text.
        is_special: `[tokens]` bool. Tokens whose coordinates always stay.

    Returns:
        A function of `[n, words]` chances of keeping a coordinate, and a generator.
    """
    run = _runner(classifier, encoding)
    words = word_embeddings(classifier, encoding)

    @torch.no_grad()
    def predict(
        chances: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.floating]:
        whole = np.ones((len(chances), len(is_special)))
        whole[:, ~is_special] = chances
        draws = generator.random((*whole.shape, words.shape[-1]))
        return run(torch.from_numpy(draws < whole[..., None]) * words)

    return predict


def word_embeddings(classifier: Classifier, encoding: Encoding) -> Tensor:
    """Return state 0 of a text, `[tokens, hidden]` float32."""
    table = classifier.encoder.model.get_input_embeddings().weight
    embedded: Tensor = table.detach()[list(encoding.input_ids)].float()
    return embedded


def word_vector(classifier: Classifier, token_id: int) -> Tensor:
    """Return the word embedding of one token, `[hidden]` float32."""
    table = classifier.encoder.model.get_input_embeddings().weight
    vector: Tensor = table.detach()[token_id].float()
    return vector


def _replacement(classifier: Classifier, encoding: Encoding, vector: Tensor) -> Predict:
    run = _runner(classifier, encoding)
    words = word_embeddings(classifier, encoding)

    @torch.no_grad()
    def predict(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        return run(torch.where(torch.from_numpy(keep)[..., None], words, vector))

    return predict


def _runner(
    classifier: Classifier, encoding: Encoding
) -> Callable[[Tensor], NDArray[np.floating]]:
    """Return the model from state 0, `[n, tokens, hidden]`, to probabilities."""
    inputs = collate([encoding], pad_id=classifier.tokenizer.pad_token_id).inputs
    rows = max(1, _RUN_TOKENS // len(encoding.input_ids))

    def run(states: Tensor) -> NDArray[np.floating]:
        logits = [
            classifier.encoder.run_from(
                {name: value.expand(len(part), -1) for name, value in inputs.items()},
                0,
                part,
            )
            for part in torch.split(states, rows)
        ]
        return _probabilities(torch.cat(logits))

    return run


def _attention_drop(classifier: Classifier, encoding: Encoding) -> Predict:
    inputs = collate([encoding], pad_id=classifier.tokenizer.pad_token_id).inputs
    rows = max(1, _RUN_TOKENS // len(encoding.input_ids))

    @torch.no_grad()
    def predict(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        attended = torch.from_numpy(keep).long()
        attended[attended.sum(dim=-1) == 0, :: max(1, keep.shape[1] - 1)] = 1
        logits = []
        for part in torch.split(attended, rows):
            run = {name: value.expand(len(part), -1) for name, value in inputs.items()}
            captured = classifier.encoder.capture({**run, "attention_mask": part})
            logits.append(captured.logits.float())
        return _probabilities(torch.cat(logits))

    return predict


def _probabilities(logits: Tensor) -> NDArray[np.floating]:
    probabilities: NDArray[np.floating] = logits.double().softmax(dim=-1).numpy()
    return probabilities


def _remembered(predict: Predict) -> Predict:
    known: dict[bytes, NDArray[np.floating]] = {}

    def remember(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        keys = [row.tobytes() for row in np.ascontiguousarray(keep)]
        new = {key: row for row, key in enumerate(keys) if key not in known}
        if new:
            rows = predict(keep[list(new.values())])
            known.update(zip(new, rows, strict=True))
        return np.stack([known[key] for key in keys])

    return remember
