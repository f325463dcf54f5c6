import sys

import numpy as np
import pytest
import torch

from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.explained import ExplainedText
from diffmask_training.integrated_gradients import integrated_gradients


def _logit(classifier: Classifier, ids: torch.Tensor, label: int) -> float:
    with torch.no_grad():
        logits = classifier.encoder.model(input_ids=ids).logits
    return float(logits[0, label])


def test_attributions_sum_to_the_change_of_the_logit(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    for text in explained[:4]:
        ids = torch.tensor([text.encoding.input_ids])
        reference = torch.where(
            torch.from_numpy(text.is_special), ids, trained.tokenizer.mask_token_id
        )
        scores = integrated_gradients(trained, text, steps=200)
        change = _logit(trained, ids, text.label) - _logit(
            trained, reference, text.label
        )
        assert scores.shape == text.words.shape
        assert scores.sum() == pytest.approx(change, abs=0.02)


def test_telling_word_comes_first(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    telling = {"good", "fine", "great", "lovely", "bad", "dull", "awful", "boring"}
    hits = []
    for text in explained:
        top = text.words[int(np.argmax(integrated_gradients(trained, text)))]
        hits.append(text.tokens[top] in telling)
    assert np.mean(hits) > 0.8


def test_missing_captum_is_named(
    trained: Classifier,
    explained: tuple[ExplainedText, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match="pip install captum"):
        integrated_gradients(trained, explained[0])
