import numpy as np
import pytest

from diffmask_service.engine.feeds import Row, feed

NAMES = ("input_ids", "attention_mask", "token_type_ids", "keep")


def row(*ids: int, keep: list[float] | None = None) -> Row:
    return Row(
        input_ids=np.array(ids),
        token_type_ids=np.array([index % 2 for index in range(len(ids))]),
        keep=None if keep is None else np.array(keep, dtype=np.float32),
    )


def test_shorter_texts_are_padded_on_the_right_and_hidden() -> None:
    feeds = feed([row(7), row(5, 6, 7, keep=[1, 0, 1]), row(8, 9)], NAMES)
    assert feeds["input_ids"].tolist() == [[7, 0, 0], [5, 6, 7], [8, 9, 0]]
    assert feeds["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    assert feeds["token_type_ids"].tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert feeds["keep"].tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("keep", [None, [0.0, 1.0]])
def test_one_text_is_fed_as_it_is_among_its_likes(keep: list[float] | None) -> None:
    alone = feed([row(5, 6, keep=keep)], NAMES)
    among = feed([row(5, 6, keep=keep), row(1, 2)], NAMES)
    for name in NAMES:
        assert alone[name].dtype == among[name].dtype
        assert alone[name].tolist() == among[name][:1].tolist()


def test_only_what_the_graph_takes_is_fed() -> None:
    assert list(feed([row(1)], ("keep", "input_ids"))) == ["keep", "input_ids"]
