"""The card of a made-up manifest, and what `inspect` shows of it."""

import dataclasses

from diffmask_service.bundle import (
    LeakageReport,
    Manifest,
    StateLeakage,
    parse_manifest,
)
from diffmask_training.export.card import write_card
from tests.support.tiny import STATES, tiny_manifest


def _leaking() -> Manifest:
    manifest = tiny_manifest()
    states = {
        state: StateLeakage(
            told_share=0.5 + 0.1 * index,
            empty_label=manifest.labels[0],
            empty_probability=0.25 + 0.1 * index,
        )
        for index, state in enumerate(STATES)
    }
    leakage = LeakageReport(majority_share=0.5, states=states)
    report = dataclasses.replace(manifest.probes["input"], leakage=leakage)
    return dataclasses.replace(manifest, probes={**manifest.probes, "input": report})


def test_card_says_what_masks_tell_of_labels() -> None:
    manifest = _leaking()
    card = write_card(manifest)
    last = len(STATES) - 1
    told = f"{0.5 + 0.1 * last:.1%}"
    assert f"at most {told} ({STATES[-1]}), by guessing 50.0% |" in card
    (row,) = [
        line for line in card.splitlines() if line.startswith(f"| {STATES[1]} |")
    ][:1]
    assert row.endswith(f"| 60.0% | {manifest.labels[0]} with 0.35 |")


def test_rows_of_a_table_have_as_many_cells_as_its_head() -> None:
    card = write_card(_leaking())
    for table in card.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_leakage_survives_the_manifest_file() -> None:
    manifest = _leaking()
    read = parse_manifest(manifest.to_json())
    assert read.probes["input"].leakage == manifest.probes["input"].leakage
    assert read.probes["hidden"].leakage is None
