import json
from pathlib import Path
from typing import Any

import pytest

from diffmask_training.errors import DataError
from diffmask_training.records import Answer, Columns, Record, read_records


def _content(**changes: Any) -> dict[str, Any]:
    answer = {"text": "Ada", "answer_start": 3, **changes}
    question = {"id": "1", "question": "Who?", "answers": [answer]}
    paragraph = {"context": "So Ada.", "qas": [question]}
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph]}]}


def _read(path: Path, content: str) -> list[Record]:
    path = path / "dev.json"
    path.write_text(content, encoding="utf-8")
    return list(
        read_records(path, labels=(), columns=Columns(), task="question_answering")
    )


def test_every_question_comes_with_its_context_and_answers(tmp_path: Path) -> None:
    assert _read(tmp_path, json.dumps(_content())) == [
        Record(text="Who?", text_pair="So Ada.", label=(Answer(text="Ada", start=3),))
    ]


def test_an_answer_that_does_not_stand_in_its_context_is_named(tmp_path: Path) -> None:
    place = r"dev\.json, data\[0\], paragraphs\[0\], qas\[0\], answers\[0\]: "
    with pytest.raises(DataError, match=place + "the answer 'Ada' does not stand at"):
        _read(tmp_path, json.dumps(_content(answer_start=2)))


def test_a_question_may_have_no_answer(tmp_path: Path) -> None:
    content = _content()
    question = content["data"][0]["paragraphs"][0]["qas"][0]
    # What is there instead in version 2.0 is no answer.
    plausible = question["answers"]
    question |= {"answers": [], "is_impossible": True, "plausible_answers": plausible}
    assert _read(tmp_path, json.dumps(content)) == [
        Record(text="Who?", text_pair="So Ada.", label=())
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [}', r"dev\.json, line 1: not valid JSON"),
        ("[]", "no list 'data'"),
        ('{"data": [1]}', r"data\[0\]: expected a JSON object"),
        ('{"data": [{}]}', r"data\[0\]: no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "'context' must be a text"),
        ('{"data": []}', "holds no records"),
    ],
)
def test_another_layout_is_named_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path, content)


def test_questions_are_no_data_of_another_task(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(_content()), encoding="utf-8")
    with pytest.raises(DataError, match="is for question_answering, the model for"):
        read_records(path, labels=("a", "b"), columns=Columns())
