"""Servers asked in turn, those of others stood in for by ours."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contestants import Ask, our_server
from benchmarks.others import Pace, describe, measure, summarise


def test_every_server_is_asked_and_timed(tiny_directory: Path) -> None:
    with ExitStack() as stack:
        contestants = [
            stack.enter_context(our_server(tiny_directory, explains=explains))
            for explains in (True, False)
        ]
        rounds = measure(contestants, callers=2, num_texts=40, rounds=2)
    assert [list(paces) for paces in rounds] == [
        ["ours, explanations", "ours, predictions"]
    ] * 2
    for paces in rounds:
        assert all(pace.texts_per_second > 0 for pace in paces.values())
        assert all(pace.cpu_seconds_per_text > 0 for pace in paces.values())


def test_another_answer_is_noticed(tiny_directory: Path) -> None:
    @contextmanager
    def connect_to_a_liar() -> Iterator[Ask]:
        def lie(text: str) -> Sequence[float]:
            return [value + 0.01 for value in ask(text)]

        with ours.connect() as ask:
            yield lie

    with our_server(tiny_directory, explains=True) as ours:
        liar = replace(ours, name="liar", connect=connect_to_a_liar)
        with pytest.raises(RuntimeError, match=r"liar: other logits, by 0\.01"):
            measure([ours, liar], callers=1, num_texts=1, rounds=1)


def test_ratios_are_those_within_a_round() -> None:
    # The machine is three times as slow in the second round.
    rounds = [
        {
            "ours": Pace(
                texts_per_second=40.0 / slow, cpu_seconds_per_text=0.01 * slow
            ),
            "other": Pace(
                texts_per_second=20.0 / slow, cpu_seconds_per_text=0.03 * slow
            ),
        }
        for slow in (1, 3, 1)
    ]
    figures = summarise(rounds)
    assert figures["other"]["ours_over_it"] == pytest.approx(2.0)
    assert figures["other"]["its_cpu_over_ours"] == pytest.approx(3.0)
    assert figures["other"]["texts_per_second"] == 20.0
    assert figures["ours"]["ours_over_it"] == 1.0
    assert describe(figures)[-1] == "| other | 20 | 2 | 0.0300 | 3 |"
