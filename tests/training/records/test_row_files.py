"""Records that are held and records that are made when they are asked for are alike."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Columns, Record, read_records

# A byte order mark, line breaks of both kinds, one of them within a field, blank lines,
# and no line break at the end.
CSV = '\ufefftext,label\r\n"Good,\nreally",1\r\n\r\nBad\u00e9,0\n\n"Fi""ne",1'
JSON_LINES = '{"text": "Good", "label": 1}\n\n  \n{"text": "Bad\u00e9", "label": 0}'


def _read(path: Path, *, max_held_bytes: int) -> Sequence[Record]:
    return read_records(
        path,
        labels=("negative", "positive"),
        columns=Columns(),
        max_held_bytes=max_held_bytes,
    )


def _written(path: Path, content: str) -> Path:
    raw = content.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize(
    ("name", "content", "num_records"),
    [
        ("a.csv", CSV, 3),
        ("a.tsv.gz", CSV.replace(",", "\t"), 3),
        ("a.jsonl", JSON_LINES, 2),
        ("a.jsonl.gz", JSON_LINES + "\n", 2),
    ],
)
def test_records_made_when_asked_are_those_held(
    tmp_path: Path, name: str, content: str, num_records: int
) -> None:
    path = _written(tmp_path / name, content)
    held = _read(path, max_held_bytes=10**6)
    asked = _read(path, max_held_bytes=0)
    assert isinstance(held, list)
    assert isinstance(asked, MadeWhenAsked)
    assert len(asked) == len(held) == num_records
    backwards = [asked[index] for index in reversed(range(num_records))]
    assert backwards == held[::-1]
    assert asked[-1] == held[-1]


def test_rows_of_a_csv_file_hold_their_line_breaks(tmp_path: Path) -> None:
    asked = _read(_written(tmp_path / "a.csv", CSV), max_held_bytes=0)
    assert [r.text for r in asked] == ["Good,\nreally", "Bad\u00e9", 'Fi"ne']


def test_size_alone_decides_what_is_held(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl", JSON_LINES)
    size = path.stat().st_size
    assert isinstance(_read(path, max_held_bytes=size), list)
    assert isinstance(_read(path, max_held_bytes=size - 1), MadeWhenAsked)


@pytest.mark.parametrize("max_held_bytes", [0, 10**6])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'text,label\n"Go\nod",1\n,0\n', "a.csv, line 4: 'text' must be"),
        ("a.csv", 'text,label\n"Good"x,1\n', "a.csv, line 2: "),
        ("a.csv", 'te"xt,"lab"el\nGood,1\n', "a.csv, line 1: "),
        ("a.csv", "text,label\nGood,1,2\n", "line 2: the row does not have 2 fields"),
        ("a.jsonl", '{"text": "Good", "label": 1}\n\n{"text"\n', "line 3: not valid"),
        ("a.jsonl", '{"text": "Good", "label": 7}\n', "line 1: label 7 is out of"),
        ("a.jsonl", "\n\n", "a.jsonl: holds no records"),
        ("a.jsonl", "", "a.jsonl: holds no records"),
        ("a.csv", "", "line 1: no column 'text' among []"),
    ],
)
def test_malformed_rows_are_found_at_once_and_named(
    tmp_path: Path, name: str, content: str, message: str, max_held_bytes: int
) -> None:
    with pytest.raises(DataError) as caught:
        _read(_written(tmp_path / name, content), max_held_bytes=max_held_bytes)
    assert message in str(caught.value)


def test_file_that_was_changed_meanwhile_is_named(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl", '{"text": "Good", "label": 1}\n')
    asked = _read(path, max_held_bytes=0)
    with path.open("r+b") as stream:
        stream.write(b"?")
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: not valid JSON"):
        asked[0]


def test_a_long_text_is_read_and_an_unclosed_quote_is_named(tmp_path: Path) -> None:
    text = "word " * 40_000
    path = _written(tmp_path / "long.csv", f"text,label\n{text},1\n")
    assert _read(path, max_held_bytes=10**6)[0].text == text
    path = _written(tmp_path / "open.csv", 'text,label\n"' + "word " * 300_000)
    with pytest.raises(DataError, match=r"open\.csv.*a quote that is not closed"):
        _read(path, max_held_bytes=10**7)
