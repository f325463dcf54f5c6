"""Training, validation and test texts of a command, from up to three files."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diffmask_service.bundle import TaskName
from diffmask_training.config import DataConfig
from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Record, read_records

_SET_ASIDE = 10  # one text in so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The texts by purpose; disjoint when the files are.

    Attributes:
        train: Texts that parameters are fitted on.
        validation: Texts that decide among epochs.
        test: Texts that the reported figures are measured on.
    """

    train: Sequence[Record]
    validation: Sequence[Record]
    test: Sequence[Record]


def read_splits(
    config: DataConfig,
    labels: Sequence[str],
    *,
    task: TaskName = "text_classification",
    phrases: bool = False,
) -> Splits:
    """Read the files that a command names, setting texts aside for missing ones.

    Args:
        config: File names, columns and the split seed.
        labels: Label names in index order.
        task: What the labels are for.
        phrases: For sentiment trees, train on every labelled phrase.

    Raises:
        DataError: A file is missing or malformed, or holds too few texts to set any
            aside.
    """

    def read(name: object, *, with_phrases: bool = False) -> Sequence[Record]:
        path = config.data / str(name)
        return read_records(
            path,
            labels=labels,
            columns=config.columns(),
            task=task,
            phrases=with_phrases,
            max_held_bytes=config.max_held_bytes,
        )

    train = read(config.train, with_phrases=phrases)
    generator = torch.Generator().manual_seed(config.split_seed)
    # Eight bytes a text, where a list takes four times as many.
    order = array(
        "q", torch.randperm(len(train), generator=generator).numpy().tobytes()
    )
    share = len(train) // _SET_ASIDE
    held_out: list[Sequence[Record]] = []
    for name in (config.validation, config.test):
        if name is not None:
            held_out.append(read(name))
            continue
        if share == 0:
            raise DataError(
                f"{config.data / config.train}: holds {len(train)} texts, too few to"
                f" set"
                " any aside; name --validation and --test files"
            )
        taken, order = order[:share], order[share:]
        held_out.append(_chosen(train, taken))
    kept = train if config.validation and config.test else _chosen(train, order)
    return Splits(train=kept, validation=held_out[0], test=held_out[1])


def _chosen(records: Sequence[Record], indices: Sequence[int]) -> Sequence[Record]:
    if isinstance(records, MadeWhenAsked):
        return MadeWhenAsked(indices, records.__getitem__)
    return [records[index] for index in indices]
