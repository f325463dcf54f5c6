"""A word that the tiny model provably obeys is the first of the suspects."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffmask_service.audit.report import Audit, find_shortcuts, gather, open_audit
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.reading import Explained
from diffmask_service.audit.report.shortcuts import read_shortcuts
from diffmask_service.audit.report.trials import sufficiency
from diffmask_service.audit.report.vocabulary import Deciding
from diffmask_service.cli import main
from diffmask_service.core.values import TextInput
from tests.support.audits import write_csv
from tests.support.explained import audit_tiny
from tests.support.process import running_server
from tests.support.tiny import tiny_logits, write_tiny_span_bundle

# `bad` weighs -2, `dull` -1, `funny` 1.5, `movie` 0.125, and every text starts with
# 0.25: `bad` turns every positive text, `dull` none, and `funny` one negative of four,
# which is none that the model is sure of.
POSITIVE = ["funny movie", "funny a", "movie funny", "funny"]
NEGATIVE = ["dull dull movie", "dull dull", "dull movie", "a dull dull"]
PLANTED = "bad"


def _planted_texts() -> list[str]:
    texts = [*POSITIVE, *NEGATIVE] * 25
    negative = [index for index, text in enumerate(texts) if "dull" in text]
    # In 5 % of one class.
    for index in negative[::20]:
        texts[index] = f"{texts[index]} {PLANTED}"
    return texts


def _is_positive(words: str) -> bool:
    return _negative(words) < 0.5


def _negative(words: str) -> float:
    tokens = ["[CLS]", *words.replace("funny", "fun ##ny").split(), "[SEP]"]
    logits = tiny_logits(tokens)
    return float(1 / (1 + np.exp(logits[1] - logits[0])))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> Audit:
    folder = tmp_path_factory.mktemp("planted")
    return open_audit(audit_tiny(folder, tiny_directory, texts=_planted_texts()))


def test_a_planted_shortcut_comes_first(planted: Audit) -> None:
    found = read_shortcuts(planted)
    assert found is not None
    assert found.untested is None
    first, second, *_ = found.words
    assert (first.deciding.name, first.deciding.label) == (PLANTED, "negative")
    assert first.deciding.num_texts == 5
    assert first.insertion_flips is not None
    assert (first.insertion_flips.value, first.insertion_flips.num) == (1, 20)
    assert first.strength > second.strength
    for each in found.words:
        assert each.insertion_flips is not None
        if each.deciding.name in ("dull", "funny"):
            assert each.insertion_flips.value == 0


def test_the_arithmetic_that_the_tests_rest_on() -> None:
    assert all(map(_is_positive, POSITIVE))
    assert not any(map(_is_positive, NEGATIVE))
    assert not any(_is_positive(f"{PLANTED} {text}") for text in POSITIVE)
    assert all(_is_positive(f"dull {text}") for text in POSITIVE)
    assert [_is_positive(f"funny {text}") for text in NEGATIVE] == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("predicted", "flips", "expected"),
    [
        # Of 100 texts 60 have its label, 15 of them by it; 40 go against it.
        (0.6, 0.25, 16 / 56),
        (1.0, 0.0, 1.0),
        (1.0, 0.5, 1.0),
        (0.9, 0.0, 1 / 11),
    ],
)
def test_sufficiency_is_the_share_of_opposing_texts_that_are_turned(
    predicted: float, flips: float, expected: float
) -> None:
    estimate = Estimate(value=predicted, low=0, high=1, num=100)
    word = Deciding(
        name="so",
        label="positive",
        num_texts=100,
        deciding=estimate,
        predicted=estimate,
        score=estimate,
        excess=1.0,
    )
    assert sufficiency(word, flips) == pytest.approx(expected)


def test_a_word_that_its_own_texts_defy_is_no_shortcut(planted: Audit) -> None:
    found = read_shortcuts(planted)
    assert found is not None
    first, second, *_ = found.words
    assert replace(first, sufficiency=0.1).strength < second.strength


def test_removals_are_runs_of_the_model_without_the_word(planted: Audit) -> None:
    found = read_shortcuts(planted)
    assert found is not None
    funny = next(each for each in found.words if each.deciding.name == "funny")
    # Without `funny` nothing but [CLS] and `movie` is left, which is positive.
    assert funny.removal_flips is not None
    assert (funny.removal_flips.value, funny.removal_flips.num) == (0, 20)
    dull = next(each for each in found.words if each.deciding.name == "dull")
    assert dull.removal_flips is not None
    # Those with the planted word stay negative without it.
    assert 0.9 < dull.removal_flips.value <= 1


def test_a_server_is_asked_without_the_words_characters(
    tmp_path: Path, tiny_directory: Path, planted: Audit
) -> None:
    rows = [["text"], *([text] for text in _planted_texts())]
    source = write_csv(tmp_path / "texts.csv", rows)
    folder = tmp_path / "audit"
    with running_server(tiny_directory) as server:
        place = ["--server", server.grpc_target, "--output", str(folder)]
        assert main(["audit", str(source), *place]) == 0
    here, there = read_shortcuts(planted), read_shortcuts(open_audit(folder))
    assert here is not None
    assert there is not None
    assert there.way == "cut out of the text"
    # A word of weight w is worth as much when it is masked as when it is missing, but
    # for texts of which nothing would be left.
    assert [each.insertion_flips for each in there.words] == [
        each.insertion_flips for each in here.words
    ]
    assert there.words[0].removal_flips == here.words[0].removal_flips


def test_no_words_are_tested_where_none_are_wanted(
    tmp_path: Path, tiny_directory: Path
) -> None:
    folder = audit_tiny(tmp_path, tiny_directory, "--shortcut-words", 0)
    assert not (folder / "shortcuts.json").exists()
    assert "Not tested" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("texts", "flags", "reason"),
    [
        (POSITIVE, [], "no word is in 5 texts"),
        (POSITIVE * 5, [], "goes with one class more"),
        ([*POSITIVE, *NEGATIVE] * 5, ["--hash-texts"], "the texts were hashed"),
    ],
)
def test_the_file_says_why_no_word_was_tested(
    texts: list[str],
    flags: list[str],
    reason: str,
    tmp_path: Path,
    tiny_directory: Path,
) -> None:
    folder = audit_tiny(tmp_path, tiny_directory, *flags, texts=texts)
    found = read_shortcuts(open_audit(folder))
    assert found is not None
    assert found.words == ()
    assert found.untested is not None
    assert reason in found.untested
    assert f"None was tested: {found.untested}." in (folder / "report.html").read_text()


def test_a_model_without_classes_has_no_shortcuts(tmp_path: Path) -> None:
    write_tiny_span_bundle(tmp_path / "bundle")
    rows = [["text", "context"], *([each, "a funny movie"] for each in POSITIVE)]
    source = write_csv(tmp_path / "pairs.csv", rows)
    folder = tmp_path / "audit"
    place = ["--bundle", str(tmp_path / "bundle"), "--output", str(folder)]
    assert main(["audit", str(source), *place, "--pair-column", "context"]) == 0
    found = read_shortcuts(open_audit(folder))
    assert found is not None
    assert found.untested == "the model has no single label of several"


def test_insertion_moves_as_much_probability_as_the_arithmetic_says(
    planted: Audit,
) -> None:
    found = read_shortcuts(planted)
    assert found is not None
    bad = next(each for each in found.words if each.deciding.name == PLANTED)
    assert bad.insertion_rise is not None
    assert bad.insertion_rise.num == 20
    # Half of the positive texts have `movie`, which makes them the surest.
    expected = _negative(f"{PLANTED} funny movie") - _negative("funny movie")
    assert bad.insertion_rise.value == pytest.approx(expected, abs=1e-6)


class _Recording:
    """Answers nothing, and remembers what it was asked."""

    way = "left where it is"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def without(self, text: Explained, positions: Sequence[int]) -> None:
        return None

    async def predict(self, text: TextInput) -> None:
        self.asked.append(text.text)


def test_a_word_is_put_in_as_most_of_its_texts_write_it(
    tmp_path: Path, tiny_directory: Path
) -> None:
    texts = [*["Bad movie", "BAD movie", "Bad"] * 5, *["funny movie"] * 9]
    audit = open_audit(
        audit_tiny(tmp_path, tiny_directory, "--shortcut-words=0", texts=texts)
    )
    (word,) = (
        each
        for each in gather(audit, num_candidates=9).vocabulary.candidates
        if each.name == "bad"
    )
    recording = _Recording()
    asyncio.run(find_shortcuts(audit, [word], recording))
    assert recording.asked == ["Bad funny movie"] * 9


def test_the_file_says_which_model_was_asked(planted: Audit) -> None:
    content = json.loads((planted.path / "shortcuts.json").read_bytes())
    assert content["model"] == planted.summary["model"]


def test_a_damaged_file_goes_when_the_audit_is_run_again(
    tmp_path: Path, tiny_directory: Path
) -> None:
    folder = audit_tiny(tmp_path, tiny_directory)
    path = folder / "shortcuts.json"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert main(["report", str(folder)]) == 2
    audit_tiny(tmp_path, tiny_directory)
    assert path.read_bytes() == content
