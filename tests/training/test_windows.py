"""Windows of long contexts: what they hold, and what a fit sees of them."""

import dataclasses
import json
from pathlib import Path

import pytest

from diffmask_training.config import FitConfig
from diffmask_training.errors import ConfigError, DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.preparation import prepare
from diffmask_training.records import Answer, Record
from diffmask_training.sharing import Processes
from diffmask_training.tasks import task_named
from diffmask_training.windows import Windows
from tests.support.checkpoint import tokenizer_of, write_checkpoint, write_texts

CONTEXT = "the film was a good film and the plot was so dull"
TASK = task_named("question_answering")
# [CLS] was it [SEP] and [SEP] leave five tokens of the context to a window of ten, and
# each goes three on: tokens 0 to 4, 3 to 7, 6 to 10, 9 to 11.
WINDOWS = Windows(tokenizer=tokenizer_of("bert"), task=TASK, max_tokens=10, overlap=2)
TEXTS = (
    "the film was a good",
    "a good film and the",
    "and the plot was so",
    "was so dull",
)


def _record(*answers: str) -> Record:
    label = tuple(Answer(text=a, start=CONTEXT.index(a)) for a in answers)
    return Record(text="was it", text_pair=CONTEXT, label=label or None)


def _texts(windows: Windows, record: Record) -> list[str]:
    return [
        window.source[
            window.offsets[window.scored[0]][0] : window.offsets[window.scored[-1]][1]
        ]
        for window in windows.of(record)
    ]


def test_windows_cover_the_context_and_share_tokens() -> None:
    assert _texts(WINDOWS, _record()) == list(TEXTS)
    for window in WINDOWS.of(_record()):
        assert len(window.input_ids) <= 10
        assert window.source == CONTEXT


def test_windows_without_a_whole_answer_are_left_out() -> None:
    assert _texts(WINDOWS, _record("a good")) == [TEXTS[0], TEXTS[1]]
    assert _texts(WINDOWS, _record("dull")) == [TEXTS[3]]
    # Half of it stands in the first window, and the other half in the third.
    assert _texts(WINDOWS, _record("good film and")) == [TEXTS[1]]
    (window,) = WINDOWS.of(_record("good film and", "dull"))[:1]
    assert window.label == (Answer(text="good film and", start=15),)


def test_windows_without_an_answer_stay_where_there_may_be_none() -> None:
    windows = dataclasses.replace(WINDOWS, task=TASK.with_no_answer(0.0))
    labels = [window.label for window in windows.of(_record("dull"))]
    assert labels == [(), (), (), (Answer(text="dull", start=45),)]
    none = dataclasses.replace(_record(), label=())
    assert [window.label for window in windows.of(none)] == [()] * 4


def test_short_contexts_are_one_window() -> None:
    windows = dataclasses.replace(WINDOWS, max_tokens=64)
    assert _texts(windows, _record("dull")) == [CONTEXT]


def test_windows_made_when_asked_are_those_held() -> None:
    records = [_record("a good"), _record(), _record("dull")]
    asked = WINDOWS.of_all(MadeWhenAsked(range(3), records.__getitem__))
    assert isinstance(asked, MadeWhenAsked)
    assert list(asked) == WINDOWS.of_all(records)
    assert len(asked) == 7


def test_a_question_that_leaves_no_room_is_named() -> None:
    with pytest.raises(DataError, match="takes 5 of 7 tokens and leaves no room"):
        dataclasses.replace(WINDOWS, max_tokens=7).of(_record())


def test_other_tasks_have_no_windows() -> None:
    with pytest.raises(ConfigError, match="text_classification does not have"):
        dataclasses.replace(WINDOWS, task=task_named("text_classification"))


def test_fit_on_windows_sees_answers_beyond_the_cut(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "c", task="question_answering")
    path = write_texts(tmp_path / "t.jsonl", task="question_answering", num_texts=40)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    shift = len("the plot is and " * 5)
    for row in rows:
        row["context"] = "the plot is and " * 5 + row["context"]
        row["label"][0]["answer_start"] += shift
    path.write_text("\n".join(map(json.dumps, rows)))
    config = FitConfig(
        epoch_steps=0,
        data=tmp_path,
        train=Path("t.jsonl"),
        validation=Path("t.jsonl"),
        test=Path("t.jsonl"),
        pair_column="context",
        checkpoint=checkpoint,
        probes=tmp_path / "p",
        max_train_tokens=16,
        window_overlap=3,
    )
    held = prepare(config, Processes()).texts
    # Each answer stands in one window or, where they share it, in two.
    assert 40 <= len(held.train) <= 80
    assert all(text.label for text in held.train)
    asked = prepare(dataclasses.replace(config, max_held_bytes=0), Processes()).texts
    assert list(asked.train) == held.train
