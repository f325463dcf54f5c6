import threading

from diffmask_service.telemetry.ledger import Ledger


def test_events_wait_until_there_is_no_room_and_keep_their_order() -> None:
    counted: list[list[int]] = []
    ledger = Ledger[int](lambda events: counted.append(list(events)), room=3)
    for number in range(7):
        ledger.note(number)
    assert counted == [[0, 1, 2], [3, 4, 5]]
    ledger.settle()
    assert counted[-1] == [6]
    ledger.settle()
    assert len(counted) == 3


def test_what_is_noted_while_others_are_counted_waits_for_the_next_time() -> None:
    counted: list[list[int]] = []

    def count(events: list[int]) -> None:
        counted.append(events)
        if len(counted) == 1:
            ledger.note(2)

    ledger = Ledger[int](lambda events: count(list(events)))
    ledger.note(1)
    ledger.settle()
    assert counted == [[1]]
    ledger.settle()
    assert counted == [[1], [2]]


def test_several_threads_lose_nothing_and_count_nothing_twice() -> None:
    counted: list[int] = []
    ledger = Ledger[int](counted.extend, room=5)

    def note(begin: int) -> None:
        for number in range(begin, begin + 1000):
            ledger.note(number)
            if not number % 7:
                ledger.settle()

    threads = [threading.Thread(target=note, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.settle()
    assert sorted(counted) == list(range(4000))
