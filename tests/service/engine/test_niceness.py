"""Runs on threads that are less urgent than the event loop."""

import os
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from diffmask_service.core.batching import UnpaddedBatches
from diffmask_service.core.values import Outputs
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.feeds import Row
from tests.support.batching import LOGITS, Counts


@pytest.mark.parametrize("levels", [0, 3])
async def test_runs_are_so_many_levels_less_urgent_than_the_loop(levels: int) -> None:
    seen = []

    def run(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        del rows, fetches
        seen.append(own_level())
        return Outputs(logits=np.zeros((1, 2), dtype=np.float32))

    before, counts = own_level(), Counts()
    batcher = Batcher(
        run,
        num_workers=1,
        niceness=levels,
        policy=UnpaddedBatches(max_group_tokens=0),
        priority_step_seconds=1.0,
        counter=counts,
        on_health=counts.note_health,
        clock=lambda: 0.0,
    )
    ids = np.zeros(4, dtype=np.int64)
    row = Row(input_ids=ids, token_type_ids=ids)
    await batcher.submit([row], fetches=LOGITS, deadline=60.0, arrived=0.0)
    batcher.close()
    # The system knows no level beyond the 19th.
    assert seen == [min(19, before + levels)]
    assert own_level() == before


def own_level() -> int:
    """Return the nice level of this very thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
