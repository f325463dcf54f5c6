import gzip
from pathlib import Path

import pytest

from diffmask_training.errors import DataError
from diffmask_training.records import Columns, Record, read_records

LABELS = ("negative", "positive")
TREE = "(3 (2 (2 A) (4 great)) (2 film))"


def _read(path: Path, columns: Columns | None = None) -> list[Record]:
    return list(read_records(path, labels=LABELS, columns=columns or Columns()))


def test_csv_takes_label_names_and_indices(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"Good, really",positive\nBad,0\n')
    assert _read(path) == [
        Record(text="Good, really", label=1),
        Record(text="Bad", label=0),
    ]


def test_gzip_and_byte_order_mark_are_read_through(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("\ufefftext\tlabel\nGood\t1\n".encode()))
    assert _read(path) == [Record(text="Good", label=1)]


def test_json_lines_hold_pairs_and_may_lack_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "Who?", "c": "Ada."}\n\n')
    columns = Columns(text="q", text_pair="c", label="")
    assert _read(path, columns) == [Record(text="Who?", text_pair="Ada.")]


def test_trees_give_roots_without_the_neutral_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{TREE}\n(2 (2 So) (2 so))\n")
    assert _read(path) == [Record(text="A great film", label=1)]


def test_trees_give_every_distinct_labelled_phrase(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{TREE}\n{TREE}\n")
    records = read_records(path, labels=LABELS, columns=Columns(), phrases=True)
    assert [record.text for record in records] == ["A great film", "great"]


def test_escapes_of_trees_are_undone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("(4 (2 -LRB-) (4 (4 and\\/or) (2 -RRB-)))\n")
    assert _read(path)[0].text == "( and/or )"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nGood,1\n,0\n", "a.csv, line 3: 'text' must be"),
        ("a.csv", "text,label\nGood,2\n", "line 2: label '2' is out of range"),
        ("a.csv", "text,label\nGood,maybe\n", "label 'maybe' is out of range"),
        ("a.csv", "text,label\nGood\n", "line 2: the row does not have 2 fields"),
        ("a.csv", "text,label\nGood,1,2\n", "line 2: the row does not have 2 fields"),
        ("a.csv", 'text,label\n"Good"x,1\n', "line 2"),
        ("a.csv", "sentence,label\nGood,1\n", "line 1: no column 'text'"),
        ("a.jsonl", '{"text": "Good", "label": 1}\n{"text"\n', "line 2: not valid"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object, found list"),
        ("a.jsonl", '{"text": 3, "label": 1}\n', "line 1: 'text' must be"),
        ("a.jsonl", '{"text": "x", "label": true}\n', "label True is out of range"),
        ("a.jsonl", '{"text": "x", "label": -1}\n', "label -1 is out of range"),
        ("a.txt", f"{TREE}\n(3 (2 A)\n", "line 2: not one complete tree"),
        ("a.txt", "(3 (2 A)) (1 b)\n", "line 1: not one tree"),
        ("a.txt", "(9 A)\n", "line 1: not one tree with labels from 0 to 4"),
        ("a.txt", "(3 A))\n", "line 1: a bracket closes"),
        ("a.txt", "(3 (2 ))\n", "line 1: not one complete tree"),
        ("a.csv", "text,label\n", "holds no records"),
        ("a.docx", "x", "unknown data format 'docx'"),
        ("a.csv.gz", "x", "not a complete gzip file"),
    ],
)
def test_malformed_data_names_file_and_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        _read(path)
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_invalid_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nGood,1\nB\xffd,0\n")
    with pytest.raises(DataError, match="line 3: not valid UTF-8"):
        _read(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: cannot be read"):
        _read(tmp_path / "no.csv")


def test_trees_refuse_other_numbers_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TREE)
    with pytest.raises(DataError, match="2 or 5 labels"):
        read_records(path, labels=("a", "b", "c"), columns=Columns())


def test_five_classes_are_the_trees_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(TREE)
    labels = ("--", "-", "0", "+", "++")
    records = read_records(path, labels=labels, columns=Columns())
    assert records == [Record(text="A great film", label=3)]
