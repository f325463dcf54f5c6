import json
from pathlib import Path
from typing import Any

import pytest

from diffmask_service.bundle import TaskName
from diffmask_training.errors import DataError
from diffmask_training.records import Answer, Columns, Record, WordTag, read_records

LABELS = ("joy", "love", "fear")
QUESTION = Columns(text="q", text_pair="c", label="a")


def _rows(
    path: Path, task: TaskName, *rows: Any, columns: Columns | None = None
) -> list[Record]:
    path = path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return list(
        read_records(path, labels=LABELS, columns=columns or Columns(), task=task)
    )


def _cells(path: Path, task: TaskName, content: str) -> list[Record]:
    path = path / "a.csv"
    path.write_text(content, encoding="utf-8")
    return list(read_records(path, labels=LABELS, columns=Columns(), task=task))


def test_several_labels_are_a_list_or_stand_in_one_cell(tmp_path: Path) -> None:
    task: TaskName = "multi_label_classification"
    rows = [{"text": "a", "label": ["fear", 0]}, {"text": "b", "label": []}]
    expected = [frozenset({0, 2}), frozenset[int]()]
    assert [record.label for record in _rows(tmp_path, task, *rows)] == expected
    content = "text,label\na,fear; joy\nb,\n"
    assert [record.label for record in _cells(tmp_path, task, content)] == expected


def test_values_are_numbers(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 3}, {"text": "b", "label": -0.5}]
    labels = [record.label for record in _rows(tmp_path, "regression", *rows)]
    assert labels == [3.0, -0.5]
    assert all(isinstance(label, float) for label in labels)
    assert _cells(tmp_path, "regression", "text,label\na,1e-3\n")[0].label == 1e-3


@pytest.mark.parametrize(
    ("labels", "value", "expected"),
    [
        (("joy", "love"), 1, 1),
        (("joy", "love"), "1", 1),
        (("0", "1"), 1, 1),
        (("1", "2", "3"), 1, 0),
        (("1", "2", "3"), "3", 2),
        (("-1", "1"), 1, 1),
        (("10", "20"), 20, 1),
        (("10", "20"), 0, 0),
    ],
)
def test_labels_that_are_numbers_are_meant_by_their_names(
    tmp_path: Path, labels: tuple[str, ...], value: Any, expected: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a", "label": value}) + "\n")
    (record,) = read_records(path, labels=labels, columns=Columns())
    assert record.label == expected


def test_index_that_could_be_another_label_s_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,0\n")
    message = r"line 2: label '0' is none of \['1', '2'\]; .* write the name"
    with pytest.raises(DataError, match=message):
        read_records(path, labels=("1", "2"), columns=Columns())


@pytest.mark.parametrize("value", [True, 1.0, None, [1], "2", -1])
def test_what_is_no_label_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a", "label": value}) + "\n")
    with pytest.raises(DataError, match="is out of range; use one of"):
        read_records(path, labels=("joy", "love"), columns=Columns())


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("text_classification", {"text": "cut \ud83d", "label": 0}),
        ("multi_label_classification", {"text": "cut \ud83d", "label": [0]}),
        ("token_classification", {"text": ["\ud83d"], "label": [0]}),
    ],
)
def test_half_of_a_character_is_named_with_file_and_line(
    tmp_path: Path, task: TaskName, row: dict[str, Any]
) -> None:
    message = r"a\.jsonl, line 1: 'text' holds '\\ud83d', half of a character"
    with pytest.raises(DataError, match=message):
        _rows(tmp_path, task, row)


def test_words_are_joined_and_their_tags_placed(tmp_path: Path) -> None:
    task: TaskName = "token_classification"
    expected = Record(
        text="Ada sings .",
        label=(
            WordTag(start=0, index=1),
            WordTag(start=4, index=0),
            WordTag(start=10, index=0),
        ),
    )
    row = {"text": ["Ada", "sings", "."], "label": ["love", "joy", 0]}
    assert _rows(tmp_path, task, row) == [expected]
    content = "text,label\nAda sings .,love joy joy\n"
    assert _cells(tmp_path, task, content) == [expected]
    unlabelled = _rows(tmp_path, task, row, columns=Columns(label=""))
    assert unlabelled == [Record(text="Ada sings .")]


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "Ada", "answer_start": 3}, {"text": "Ada.", "answer_start": 3}],
        {"text": ["Ada", "Ada."], "answer_start": [3, 3]},
        '[{"text": "Ada", "answer_start": 3}, {"text": "Ada.", "answer_start": 3}]',
    ],
)
def test_answers_are_a_list_or_columns_or_json(tmp_path: Path, answers: Any) -> None:
    row = {"q": "Who?", "c": "So Ada.", "a": answers}
    (record,) = _rows(tmp_path, "question_answering", row, columns=QUESTION)
    assert record.text == "Who?"
    assert record.text_pair == "So Ada."
    assert record.label == (Answer(text="Ada", start=3), Answer(text="Ada.", start=3))


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("multi_label_classification", {"label": ["joy", "hate"]}, "label 'hate' is"),
        ("multi_label_classification", {"label": 1}, "must be a list, not 1"),
        ("regression", {"label": "much"}, "'much' is not a finite number"),
        ("regression", {"label": float("inf")}, "not a finite number"),
        ("regression", {"label": True}, "not a finite number"),
        ("regression", {"label": None}, "None is not a finite number"),
        (
            "token_classification",
            {"text": ["a", "b"], "label": ["joy"]},
            "2 words and 1 tags",
        ),
        ("token_classification", {"text": ["a b"], "label": [0]}, "not 'a b'"),
        ("token_classification", {"text": [], "label": []}, "at least one"),
        ("token_classification", {"text": ["a"], "label": ["O"]}, "label 'O' is out"),
    ],
)
def test_a_wrong_label_is_named_with_file_and_line(
    tmp_path: Path, task: TaskName, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.jsonl, line 1: .*{message}"):
        _rows(tmp_path, task, {"text": "a", **row})


def test_a_question_may_have_an_empty_list_of_answers(tmp_path: Path) -> None:
    answers: Any
    for answers in ([], {"text": [], "answer_start": []}):
        row = {"q": "Who?", "c": "So Ada.", "a": answers}
        (record,) = _rows(tmp_path, "question_answering", row, columns=QUESTION)
        assert record.label == ()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            [{"text": "Eve", "answer_start": 3}],
            "'Eve' does not stand at offset 3 .*Ada",
        ),
        ([{"text": "Ada", "answer_start": 9}], "does not stand at offset 9"),
        ([{"text": "Ada", "answer_start": "3"}], "needs a text .* and '3'"),
        ([{"text": "", "answer_start": 0}], "an answer needs a text"),
        ([{"answer_start": 0}], "an answer needs a text"),
        (["Ada"], "must have 'text' and 'answer_start'"),
        ({"text": ["Ada"], "answer_start": []}, "as many 'text' as 'answer_start'"),
        ("Ada", "not valid JSON"),
        (None, "a list of its answers"),
    ],
)
def test_a_wrong_answer_is_named_with_file_and_line(
    tmp_path: Path, answers: Any, message: str
) -> None:
    row = {"q": "Who?", "c": "So Ada.", "a": answers}
    with pytest.raises(DataError, match=rf"a\.jsonl, line 1: .*{message}"):
        _rows(tmp_path, "question_answering", row, columns=QUESTION)


def test_a_pair_of_words_is_refused(tmp_path: Path) -> None:
    row = {"text": ["a"], "b": "b", "label": [0]}
    columns = Columns(text_pair="b")
    with pytest.raises(DataError, match="leave --pair-column out"):
        _rows(tmp_path, "token_classification", row, columns=columns)


def test_a_question_without_the_column_of_its_context_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="name it with --pair-column"):
        _rows(tmp_path, "question_answering", {"text": "Who?", "label": []})
