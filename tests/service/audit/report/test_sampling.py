from dataclasses import replace

import pytest

from diffmask_service.audit.report import Audit, gather
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.reading import Explained
from diffmask_service.audit.report.sampling import Samples, sample_texts
from diffmask_service.audit.report.vocabulary import Deciding
from tests.support.explained import explained

ESTIMATE = Estimate(value=1, low=0, high=1, num=9)


def _word(name: str, label: str) -> Deciding:
    return Deciding(
        name=name,
        label=label,
        num_texts=9,
        deciding=ESTIMATE,
        predicted=ESTIMATE,
        score=ESTIMATE,
        excess=1.0,
    )


def test_labels_that_are_never_predicted_take_no_place(finished: Audit) -> None:
    many = replace(finished, labels=(*finished.labels, *map(str, range(100))))
    (word, *_) = gather(finished, num_candidates=1).vocabulary.candidates
    found = [
        sample_texts(audit, [word], texts_per_word=6).others(word)
        for audit in (finished, many)
    ]
    numbers = [[text.row for text in texts] for texts in found]
    assert len(numbers[0]) > 1
    assert numbers[1] == numbers[0]


@pytest.mark.parametrize(("texts_per_word", "rows"), [(2, [3, 2]), (5, [3, 2, 1, 4])])
def test_others_are_the_surest_of_as_many_labels_as_there_are(
    texts_per_word: int, rows: list[int]
) -> None:
    def of(
        label: str, *probabilities: float, first: int
    ) -> tuple[str, list[Explained]]:
        texts = [
            explained("film", [1], prediction=label, probability=each, row=first + at)
            for at, each in enumerate(probabilities)
        ]
        return label, texts

    by_label = dict(
        [
            of("its", 0.99, first=0),
            of("a", 0.7, first=1),
            of("b", 0.8, first=2),
            of("c", 0.9, 0.85, first=3),
        ]
    )
    by_label["c"].append(explained("so bad", [1, 1], probability=1.0, row=40))
    samples = Samples(having={}, by_label=by_label, texts_per_word=texts_per_word)
    found = [text.row for text in samples.others(_word("bad", "its"))]
    assert found == rows
