"""Open loop, and honest about who waited."""

import asyncio

from benchmarks.traffic.driving import Ending, drive
from benchmarks.traffic.plan import PlannedCall


class ManualTime:
    """Sleeps in no time, and never goes back."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(0)
        self.now = max(self.now, when)


def planned(at_seconds: float) -> PlannedCall:
    return PlannedCall(
        at_seconds=at_seconds,
        message=b"",
        num_texts=1,
        timeout_seconds=1.0,
        cancel_after_seconds=None,
    )


async def test_a_stall_is_charged_to_every_call_that_it_delayed() -> None:
    clock = ManualTime()

    async def stall(call: PlannedCall) -> Ending:
        clock.now += 5 if call.at_seconds == 0 else 1
        return Ending(status="OK")

    outcomes = await drive([planned(at) for at in (0, 1, 2)], stall, clock=clock)
    # The first holds everything up for 5 s: the second, meant for 1, is sent at 5 and
    # ends at 6, the third, meant for 2, is sent at 6 and ends at 7.
    assert [outcome.latency_seconds for outcome in outcomes] == [5, 5, 5]
    assert [outcome.lag_seconds for outcome in outcomes] == [0, 4, 4]


async def test_nobody_waits_for_the_answer_of_another() -> None:
    clock = ManualTime()
    sent = []
    everything = asyncio.Event()

    async def answer_at_the_end(call: PlannedCall) -> Ending:
        sent.append(call.at_seconds)
        if len(sent) == 3:
            everything.set()
        await everything.wait()
        return Ending(status="OK")

    plan = [planned(at) for at in (0, 1, 2)]
    outcomes = await drive(plan, answer_at_the_end, clock=clock)
    assert sent == [0, 1, 2]
    assert [outcome.call for outcome in outcomes] == plan
