"""Published texts: reviews that a sentiment bundle knows, and news that it does not."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path


def reviews(data: Path) -> Sequence[str]:
    """Return the sentences of the treebank's test set that are not neutral.

    Args:
        data: Folder with `sst/trees/test.txt.gz`, from Socher et al. 2013.
    """
    # Here and not above: bundles are watched without the training package.
    from diffmask_training.records import Columns, read_records  # noqa: PLC0415

    path = data / "sst" / "trees" / "test.txt.gz"
    labels = ("negative", "positive")
    return [
        record.text for record in read_records(path, labels=labels, columns=Columns())
    ]


def news(data: Path) -> Sequence[str]:
    """Return titles and descriptions of the test set of AG News.

    Args:
        data: Folder with `ag_news/test.csv.gz`, from Zhang et al. 2015.
    """
    path = data / "ag_news" / "test.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [" ".join(row[1:]) for row in csv.reader(stream)]
