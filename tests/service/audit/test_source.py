import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffmask_service.audit import Columns, open_source
from diffmask_service.audit.rows import Row
from diffmask_service.core.values import TextInput
from diffmask_service.errors import InvalidInput

COLUMNS = Columns(text="sentence", label="label", id="key")
RECORDS = [
    {"sentence": "good, “movie”\nof two lines", "label": 1, "key": "a"},
    {"sentence": "bad", "label": 0, "key": "b"},
]
TABLE = pa.Table.from_pylist(RECORDS)
ROWS = [
    Row(
        number=number,
        id=str(record["key"]),
        input=TextInput(text=str(record["sentence"])),
        label=str(record["label"]),
    )
    for number, record in enumerate(RECORDS)
]


def _csv(path: Path, *, delimiter: str = ",") -> Path:
    lines = [delimiter.join(COLUMNS.names)] + [
        delimiter.join([f'"{each["sentence"]}"', str(each["label"]), str(each["key"])])
        for each in RECORDS
    ]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def _jsonl(path: Path) -> Path:
    path.write_text("\n\n".join(map(json.dumps, RECORDS)), encoding="utf-8")
    return path


def _saved(path: Path) -> Path:
    path.mkdir()
    entries = []
    for index in range(2):
        name = f"data-{index:05d}-of-00002.arrow"
        with pa.ipc.new_stream(str(path / name), TABLE.schema) as stream:
            stream.write_table(TABLE.slice(index, 1))
        entries.append({"filename": name})
    (path / "state.json").write_text(json.dumps({"_data_files": entries}))
    return path


def _arrow_file(path: Path) -> Path:
    with pa.ipc.new_file(str(path), TABLE.schema) as file:
        file.write_table(TABLE)
    return path


def _parquet(path: Path) -> Path:
    pq.write_table(TABLE, path)
    return path


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "jsonl", "parquet", "arrow", "saved_data_set"]
)
def test_every_format_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"input.{kind}"
    write = {
        "csv": _csv,
        "tsv": lambda path: _csv(path, delimiter="\t"),
        "jsonl": _jsonl,
        "parquet": _parquet,
        "arrow": _arrow_file,
        "saved_data_set": _saved,
    }[kind]
    source = open_source(write(path), COLUMNS)
    assert list(source.rows()) == ROWS
    assert list(source.rows(1)) == ROWS[1:]
    assert source.num_rows == 2


@pytest.mark.parametrize("write", [_csv, _jsonl, _parquet, _arrow_file])
def test_a_missing_column_is_named(write: object, tmp_path: Path) -> None:
    kind = {_csv: "csv", _jsonl: "jsonl", _parquet: "parquet", _arrow_file: "arrow"}
    path = tmp_path / f"input.{kind[write]}"  # type: ignore[index]
    write(path)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=r"no column 'text', only 'sentence', 'la"):
        open_source(path, Columns(label="label"))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("input.csv", b"text,n\ngood,1\nbad\n", "line 3 has 1 cells, the header 2"),
        ("input.csv", b"text\ngood\ncaf\xe9\n", "bytes that are not UTF-8"),
        ("input.csv", b'text\ngood\n" "\n', "column 'text' is empty"),
        ("input.jsonl", b'{"text": "good"}\n{"text": \n', "line 2 is not JSON"),
        ("input.jsonl", b'{"text": "good"}\n[]\n', "line 2 is not a JSON object"),
        ("input.jsonl", b'{"text": "good"}\n{"text": 3}\n', "holds int, not text"),
        ("input.jsonl", b'{"text": "good"}\n{}\n', "column 'text' is empty"),
        ("input.jsonl", b'{"text": "good"}\n{"text": "\xe9"}\n', "not JSON in UTF-8"),
    ],
)
def test_a_malformed_row_keeps_its_place(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    good, malformed = open_source(path, Columns()).rows()
    assert good.input == TextInput(text="good")
    assert malformed.number == 1
    assert malformed.input is None
    assert problem in malformed.problem


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("input.csv", b'text,gold,kind,marks,key\ngood,,," ",\n'),
        ("input.jsonl", b'{"text": "good", "gold": null, "kind": "", "marks": " "}\n'),
    ],
)
def test_an_empty_cell_says_nothing_of_its_row(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    columns = Columns(label="gold", slice="kind", rationale="marks")
    if name.endswith(".csv"):
        columns = replace(columns, id="key")
    (row,) = open_source(path, columns).rows()
    assert row == Row(number=0, id="0", input=TextInput(text="good"))


def test_an_object_may_leave_out_what_others_have(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_text('{"text": "good"}\n{"text": "bad", "gold": "negative"}\n')
    rows = open_source(path, Columns(label="gold")).rows()
    assert [row.label for row in rows] == [None, "negative"]
    with pytest.raises(InvalidInput, match=r"no column 'mood', only 'text'"):
        open_source(path, Columns(label="mood"))


def test_a_number_that_is_none_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "input.parquet"
    labels = pa.array([1.0, float("nan"), None])
    pq.write_table(pa.table({"text": ["good"] * 3, "gold": labels}), path)
    rows = open_source(path, Columns(label="gold")).rows()
    assert [row.label for row in rows] == ["1.0", None, None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("input.csv", "text\ngood\n".encode("utf-16"), "is UTF-16"),
        ("input.csv", b'text\ngood\n"bad\n', "line 3: cannot be read as CSV"),
        ("input.csv", b"text\n", "holds no rows"),
        ("input.csv", b"", "is empty"),
        ("input.parquet", b"", "is empty"),
        ("input.arrow", b"", "is empty"),
        ("input.parquet", b"text", "input.parquet: cannot be read"),
        ("input.arrow", b"text", "input.arrow: cannot be read"),
        ("input.txt", b"good\n", "of no known kind"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        open_source(path, Columns())


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "input.parquet"
    pq.write_table(TABLE.slice(0, 0), path)
    with pytest.raises(InvalidInput, match="holds no rows"):
        open_source(path, COLUMNS)


def test_too_many_slices_are_refused_before_the_audit(tmp_path: Path) -> None:
    path = tmp_path / "input.csv"
    lines = ["text,kind", "good,", *(f"good,{index}" for index in range(1000))]
    path.write_text("\n".join(lines))
    assert open_source(path, Columns(slice="kind")).num_rows == 1001
    path.write_text("\n".join([*lines, "good,1000"]))
    with pytest.raises(InvalidInput, match="'kind' has more than 1000 values"):
        open_source(path, Columns(slice="kind"))
    assert open_source(path, Columns()).num_rows == 1002


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        open_source(tmp_path / "input.csv", Columns())


def test_a_folder_of_several_data_sets_names_them(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text("{}")
    (tmp_path / "train").mkdir()
    with pytest.raises(InvalidInput, match=r"several data sets.*train"):
        open_source(tmp_path, Columns())


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not one that"):
        open_source(tmp_path, Columns())
