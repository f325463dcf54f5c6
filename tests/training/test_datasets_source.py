from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diffmask_training.config import FitConfig
from diffmask_training.errors import DataError
from diffmask_training.fit import Watcher, fit
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Columns, Record, read_records

datasets: Any = pytest.importorskip("datasets")
pyarrow: Any = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

LABELS = ("negative", "positive")
ROWS: dict[str, list[Any]] = {
    "text": ["Good.", "Bad.", "Fine."],
    "label": [1, 0, 1],
    "more": [1, 2, 3],
}
SILENT = Watcher(
    on_start=lambda *_: None,
    on_step=lambda *_: None,
    on_epoch=lambda *_: None,
    on_finish=lambda *_: None,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _parquet(path: Path, rows: dict[str, list[Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    return path


def _dataset(tmp_path: Path) -> Any:
    return datasets.Dataset.from_parquet(str(_parquet(tmp_path / "in.parquet", ROWS)))


def _read(path: Path, columns: Columns | None = None) -> Sequence[Record]:
    return read_records(path, labels=LABELS, columns=columns or Columns())


def test_parquet_and_saved_datasets_hold_the_records_of_a_file(tmp_path: Path) -> None:
    expected = [
        Record(text="Good.", label=1),
        Record(text="Bad.", label=0),
        Record(text="Fine.", label=1),
    ]
    assert list(_read(_parquet(tmp_path / "a.parquet", ROWS))) == expected
    _dataset(tmp_path).save_to_disk(str(tmp_path / "saved"))
    assert list(_read(tmp_path / "saved")) == expected


def test_records_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {"text": ["Good.", ""], "label": [1, 0]}
    records = _read(_parquet(tmp_path / "a.parquet", rows))
    assert records[0] == Record(text="Good.", label=1)
    with pytest.raises(DataError, match=r"a\.parquet, row 2: 'text' must be a text"):
        records[1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(text="review"), "no column 'review' among"),
        (Columns(text_pair="second"), "no column 'second' among"),
    ],
)
def test_missing_column_is_named_at_once(
    tmp_path: Path, columns: Columns, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _read(_parquet(tmp_path / "a.parquet", ROWS), columns)


def test_what_is_no_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    for name in ("folder", "bad.parquet", "missing.parquet"):
        with pytest.raises(DataError, match=name):
            _read(tmp_path / name)


def test_saved_splits_are_told_apart(tmp_path: Path) -> None:
    rows = _dataset(tmp_path)
    saved = datasets.DatasetDict({"train": rows, "test": rows})
    saved.save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataError, match="holds the splits train, test; name one"):
        _read(tmp_path / "both")
    assert len(_read(tmp_path / "both" / "train")) == 3


def test_fit_on_a_dataset_equals_that_on_the_same_file(
    texts: Path, checkpoint: Path, tmp_path: Path
) -> None:
    rows = list(read_records(texts, labels=LABELS, columns=Columns()))
    table: dict[str, list[Any]] = {
        "text": [r.text for r in rows],
        "label": [r.label for r in rows],
    }
    _parquet(tmp_path / "texts.parquet", table)
    ended = []
    for name in (texts.name, "texts.parquet"):
        config = FitConfig(
            epoch_steps=0,
            data=tmp_path,
            train=Path(name),
            checkpoint=checkpoint,
            probes=tmp_path / name.replace(".", "_"),
            epochs=1,
            batch_size=48,
        )
        ended.append(fit(config, SILENT).record)
    assert ended[0].multipliers == ended[1].multipliers
    assert ended[0].verdict == ended[1].verdict


def test_sequence_makes_only_what_is_asked_for() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    squares = MadeWhenAsked(range(10**9), make)
    assert len(squares) == 10**9
    assert squares[7] == 49
    assert squares[2:5] == [4, 9, 16]
    assert squares[-1] == (10**9 - 1) ** 2
    assert made == [7, 2, 3, 4, 10**9 - 1]
