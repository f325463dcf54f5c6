"""Memory holds a batch of a large data file, and the fit is that on a small one."""

import dataclasses
import gc
import weakref
from pathlib import Path

import pytest
import torch

from diffmask_training.batches import Encoding, shuffled_batches, sorted_batches
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.config import FitConfig
from diffmask_training.errors import DataError
from diffmask_training.fit import Watcher, fit
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records import Record
from tests.support.checkpoint import write_texts

BATCH_SIZE = 8
SILENT = Watcher(
    on_start=lambda *_: None,
    on_step=lambda *_: None,
    on_epoch=lambda *_: None,
    on_finish=lambda *_: None,
)


class _Stopped(Exception):
    pass


class _Tracked(Encoding):
    """A text that can be watched: the class it comes from has no weak references."""


class _Living:
    """Makes texts and counts how many of them somebody holds."""

    def __init__(self) -> None:
        self.texts: weakref.WeakSet[_Tracked] = weakref.WeakSet()
        self.most = 0
        self.made = 0

    def make(self, number: int) -> Encoding:
        length = 1 + number * 7 % 20
        text = _Tracked(input_ids=(number + 1,) * length, token_type_ids=(0,) * length)
        self.texts.add(text)
        self.made += 1
        self.most = max(self.most, len(self.texts))
        return text


@pytest.mark.parametrize("is_shuffled", [True, False])
def test_batches_hold_no_more_texts_than_two_of_them(is_shuffled: bool) -> None:
    living = _Living()
    texts = MadeWhenAsked(range(1000), living.make)
    if is_shuffled:
        generator = torch.Generator().manual_seed(0)
        batches = shuffled_batches(
            texts, batch_size=BATCH_SIZE, pad_id=0, generator=generator
        )
    else:
        batches = sorted_batches(texts, batch_size=BATCH_SIZE, pad_id=0)
    num_seen = sum(len(batch.texts) for batch in batches)
    assert num_seen == 1000
    assert living.made >= 1000
    # The batch that the loop works on, and the next one.
    assert living.most <= 2 * BATCH_SIZE


def _num_held() -> int:
    return sum(type(held) in (Record, Encoding) for held in gc.get_objects())


@pytest.fixture
def config(checkpoint: Path, tmp_path: Path) -> FitConfig:
    texts = write_texts(tmp_path / "many.jsonl", num_texts=160)
    return FitConfig(
        epoch_steps=0,
        precision="fp32",
        data=tmp_path,
        train=Path(texts.name),
        checkpoint=checkpoint,
        probes=tmp_path / "held",
        epochs=2,
        batch_size=BATCH_SIZE,
        validation_texts=BATCH_SIZE,
        learning_rate=1e-2,
    )


def _streamed(config: FitConfig, directory: Path) -> FitConfig:
    return dataclasses.replace(config, probes=directory, max_held_bytes=0)


def _same(left: FittedProbe, right: FittedProbe) -> bool:
    one, other = left.probe.state_dict(), right.probe.state_dict()
    return (
        all(torch.equal(one[name], other[name]) for name in one)
        and left.record.multipliers == right.record.multipliers
        and left.record.verdict == right.record.verdict
    )


def _counting(counts: list[int]) -> Watcher:
    gc.collect()
    held_before = _num_held()

    def on_epoch(*_: object) -> None:
        counts.append(_num_held() - held_before)

    def on_step(_: object) -> None:
        steps.append(None)
        if len(steps) % 8 == 1:  # to look takes longer than a step
            on_epoch()

    steps: list[None] = []
    return dataclasses.replace(SILENT, on_step=on_step, on_epoch=on_epoch)


def test_fit_on_a_large_file_holds_a_batch_and_equals_that_on_a_held_one(
    config: FitConfig, tmp_path: Path
) -> None:
    held: list[int] = []
    streamed: list[int] = []
    whole = fit(dataclasses.replace(config, epochs=1), _counting(held))
    large = _streamed(dataclasses.replace(config, epochs=1), tmp_path / "streamed")
    assert _same(whole, fit(large, _counting(streamed)))
    assert min(held) > 120
    # The batch of the step, and the validation texts, which are as many.
    assert max(streamed) <= 3 * BATCH_SIZE


def test_interrupted_fit_on_a_large_file_ends_as_if_it_were_not(
    config: FitConfig, tmp_path: Path
) -> None:
    whole = fit(_streamed(config, tmp_path / "whole"), SILENT)
    left = [24]  # 16 steps are an epoch

    def on_step(_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _Stopped

    stopped = dataclasses.replace(_streamed(config, tmp_path / "stopped"), resume=True)
    with pytest.raises(_Stopped):
        fit(stopped, dataclasses.replace(SILENT, on_step=on_step))
    # How texts are held may change on the way.
    resumed = dataclasses.replace(stopped, max_held_bytes=config.max_held_bytes)
    assert _same(whole, fit(resumed, SILENT))


def test_malformed_row_of_a_large_file_is_found_before_the_first_step(
    config: FitConfig, tmp_path: Path
) -> None:
    with (config.data / config.train).open("a", encoding="utf-8") as stream:
        stream.write('{"text": "", "label": 1}\n')
    with pytest.raises(DataError, match=r"many\.jsonl, line 161: 'text' must be"):
        fit(_streamed(config, tmp_path / "streamed"), SILENT)
