import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.explained import ExplainedText, explain_texts
from diffmask_training.records import Record
from diffmask_training.removal import (
    OPERATORS,
    Operator,
    over_words,
    removal_by,
    soft_removal,
    word_embeddings,
)
from tests.support.checkpoint import FAMILIES, write_checkpoint
from tests.support.probes import random_probes
from tests.support.trained import encodings_of_records

KEEP = np.array([True, False, True, True, False, True])


def _probabilities(
    classifier: Classifier, **inputs: torch.Tensor
) -> NDArray[np.float64]:
    with torch.no_grad():
        logits = classifier.encoder.model(**inputs).logits
    probabilities: NDArray[np.float64] = logits.double().softmax(dim=-1).numpy()
    return probabilities


@pytest.fixture
def text(trained: Classifier) -> ExplainedText:
    encodings = encodings_of_records(trained, [Record(text="the film is good")])
    return explain_texts(trained, random_probes(trained), encodings)[0]


def _ids(text: ExplainedText) -> torch.Tensor:
    return torch.tensor([text.encoding.input_ids])


def test_mask_token_equals_the_text_with_masks_written_in(
    trained: Classifier, text: ExplainedText
) -> None:
    masked = torch.where(
        torch.from_numpy(KEEP), _ids(text), trained.tokenizer.mask_token_id
    )
    predict = removal_by("mask_token", trained, text.encoding, baseline=torch.zeros(32))
    expected = _probabilities(trained, input_ids=masked)
    np.testing.assert_allclose(predict(KEEP[None]), expected, atol=1e-6)


def test_attention_drop_equals_a_hole_in_the_attention_mask(
    trained: Classifier, text: ExplainedText
) -> None:
    predict = removal_by(
        "attention_drop", trained, text.encoding, baseline=torch.zeros(32)
    )
    attended = torch.from_numpy(KEEP[None]).long()
    expected = _probabilities(trained, input_ids=_ids(text), attention_mask=attended)
    np.testing.assert_allclose(predict(KEEP[None]), expected, atol=1e-6)


def test_learned_baseline_equals_embeddings_with_the_vector_in_them(
    trained: Classifier, text: ExplainedText
) -> None:
    vector = torch.linspace(-1, 1, 32)
    words = word_embeddings(trained, text.encoding).clone()
    words[~torch.from_numpy(KEEP)] = vector
    predict = removal_by("learned_baseline", trained, text.encoding, baseline=vector)
    expected = _probabilities(trained, inputs_embeds=words[None])
    np.testing.assert_allclose(predict(KEEP[None]), expected, atol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_text_that_loses_nothing_is_predicted_as_it_was(
    trained: Classifier, explained: tuple[ExplainedText, ...], operator: Operator
) -> None:
    for text in explained[:3]:
        predict = removal_by(operator, trained, text.encoding, baseline=torch.zeros(32))
        whole = np.ones((1, len(text.tokens)), dtype=np.bool_)
        np.testing.assert_allclose(predict(whole)[0], text.probabilities, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_family_can_lose_every_token(
    tmp_path_factory: pytest.TempPathFactory, family: str, operator: Operator
) -> None:
    directory = tmp_path_factory.mktemp("family")
    classifier = load_classifier(write_checkpoint(directory, family=family))
    (encoding,) = encodings_of_records(classifier, [Record(text="good film .")])
    width = classifier.encoder.embedding_size
    predict = removal_by(operator, classifier, encoding, baseline=torch.ones(width))
    rows = predict(np.zeros((2, len(encoding.input_ids)), dtype=np.bool_))
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0)


def test_words_are_removed_and_special_tokens_stay(
    trained: Classifier, text: ExplainedText
) -> None:
    seen: list[NDArray[np.bool_]] = []

    def predict(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        seen.append(keep)
        return np.full((len(keep), 2), 0.5)

    over_words(predict, text.is_special)(np.array([[False, True, False, False]]))
    assert seen[0].tolist() == [[True, False, True, False, False, True]]


def test_runs_too_long_for_one_batch_are_cut(trained: Classifier) -> None:
    record = Record(text="the good film was very fine and it is so lovely .")
    (encoding,) = encodings_of_records(trained, [record])
    keep = np.random.default_rng(0).random((400, len(encoding.input_ids))) < 0.5
    baseline = torch.zeros(32)
    together = removal_by("attention_drop", trained, encoding, baseline=baseline)(keep)
    last = removal_by("attention_drop", trained, encoding, baseline=baseline)(keep[-3:])
    np.testing.assert_allclose(together[-3:], last, atol=1e-6)


def test_soft_removal_keeps_all_at_one_and_zeroes_all_at_zero(
    trained: Classifier, text: ExplainedText
) -> None:
    predict = soft_removal(trained, text.encoding, text.is_special)
    chances = np.stack([np.ones(4), np.zeros(4)])
    words = word_embeddings(trained, text.encoding).clone()
    words[1:-1] = 0.0
    rows = predict(chances, np.random.default_rng(0))
    np.testing.assert_allclose(rows[0], text.probabilities, atol=1e-6)
    expected = _probabilities(trained, inputs_embeds=words[None])
    np.testing.assert_allclose(rows[1:], expected, atol=1e-6)
