"""What runs together, and what each caller gets of it."""

import asyncio
from collections.abc import Sequence

import numpy as np

from diffmask_service.core.batching import PaddedBatches
from diffmask_service.core.values import Outputs
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.feeds import Row
from tests.support.batching import LOGITS, Counts, FakeGraph, Submit, turn
from tests.support.clock import ManualClock


async def test_each_caller_gets_its_own_answer(
    submit: Submit, graph: FakeGraph, counts: Counts
) -> None:
    graph.gate.set()
    answers = await asyncio.gather(submit(1), submit(2), submit(3, num_tokens=4))
    assert list(answers) == [1.0, 2.0, 3.0]
    assert graph.runs == [[1, 2], [3]]
    assert counts.runs == [(2, 0, 16), (1, 0, 4)]
    assert counts.releases == ["tokens", "idle"]


async def test_texts_too_long_for_mates_are_released_alone(
    submit: Submit, graph: FakeGraph, counts: Counts
) -> None:
    graph.gate.set()
    await submit(1, num_tokens=9)
    assert counts.releases == ["full"]


async def test_what_waits_is_counted(
    batcher: Batcher, submit: Submit, graph: FakeGraph
) -> None:
    running = submit(1)
    await turn()
    waiting = [submit(2), submit(3)]
    await turn()
    assert batcher.count_waiting() == 2
    graph.gate.set()
    await asyncio.gather(running, *waiting)
    assert batcher.count_waiting() == 0


async def test_a_padded_run_gives_back_each_text_without_its_padding(
    counts: Counts, clock: ManualClock
) -> None:
    def run(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        longest = max(len(row.input_ids) for row in rows)
        values = np.zeros((len(rows), 2, longest), dtype=np.float32)
        for place, row in enumerate(rows):
            values[place, :, : len(row.input_ids)] = row.input_ids
        return Outputs(
            logits=values.transpose(0, 2, 1), input_gates=values, hidden_gates=values
        )

    batcher = Batcher(
        run,
        num_workers=1,
        policy=PaddedBatches(max_batch_tokens=100),
        priority_step_seconds=1.0,
        counter=counts,
        on_health=counts.note_health,
        clock=clock,
    )
    lengths = (3, 8, 5)
    rans = await batcher.submit(
        [
            Row(input_ids=np.full(n, n), token_type_ids=np.zeros(n, dtype=np.int64))
            for n in lengths
        ],
        fetches=LOGITS,
        deadline=clock.now + 1,
        arrived=clock.now,
    )
    answers = [ran.outputs for ran in rans]
    assert counts.paddings == [8]
    batcher.close()
    assert counts.runs == [(3, 0, 16)]
    for num_tokens, outputs in zip(lengths, answers, strict=True):
        assert outputs.input_gates is not None
        assert outputs.input_gates.tolist() == [[[num_tokens] * num_tokens] * 2]
        assert outputs.logits.tolist() == [[[num_tokens] * 2] * num_tokens]


async def test_a_worker_takes_the_next_run_while_the_loop_is_busy(
    submit: Submit, graph: FakeGraph
) -> None:
    answers = [submit(1)]
    await turn()
    answers += [submit(2, num_tokens=4), submit(3, num_tokens=5)]
    await turn()
    graph.gate.set()
    # Here the loop stands still.
    assert all(graph.began.acquire(timeout=60.0) for _ in range(3))
    assert not any(answer.done() for answer in answers)
    assert graph.runs == [[1], [2], [3]]
    assert await asyncio.gather(*answers) == [1.0, 2.0, 3.0]


async def test_texts_submitted_together_stand_in_the_line_together(
    batcher: Batcher, submit: Submit, graph: FakeGraph, clock: ManualClock
) -> None:
    first = submit(9)
    await turn()
    rows = [
        Row(input_ids=np.full(4, n), token_type_ids=np.zeros(4, dtype=np.int64))
        for n in range(6)
    ]
    future = asyncio.ensure_future(
        batcher.submit(rows, fetches=LOGITS, deadline=clock.now + 1, arrived=clock.now)
    )
    await turn()
    graph.gate.set()
    assert [ran.outputs.logits[0, 0] for ran in await future] == list(range(6))
    assert await first == 9.0
    assert graph.runs == [[9], [0, 1, 2, 3], [4, 5]]
