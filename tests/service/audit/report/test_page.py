"""The page, in a browser and as text."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unicodedata import category

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffmask_service.audit.report import (
    Audit,
    Findings,
    find_tagger,
    gather,
    open_audit,
    render_report,
)
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.cli import main
from tests.service.render.test_page import HOSTILE, read
from tests.support.audits import random_texts, read_parts, write_csv
from tests.support.browser import Browser
from tests.support.explained import audit_tiny, multiply
from tests.support.tiny import (
    write_tiny_bundle,
    write_tiny_pair_bundle,
    write_tiny_span_bundle,
)

HEADINGS = [
    "Do the explanations hold?",
    "How much is kept",
    "Where it can be dropped",
    "Parts of speech",
    "What decides each class",
    "Suspected shortcuts",
    "Texts explained worst",
    "Agreement with people",
    "What this does not show",
]
# Ends a script, colours a terminal, turns the reading order and ends a line.
EVIL = f"</script>{HOSTILE}\0\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR} so"


def _texts(findings: Findings) -> list[str]:
    return read(render_report(findings)).texts


def test_a_browser_opens_it_alone_and_without_complaint(
    finished: Audit, browser: Browser
) -> None:
    address = (finished.path / "report.html").resolve().as_uri()
    page = browser.page()
    page.open(address)
    headings = "[...document.querySelectorAll('h2')].map(each => each.textContent)"
    assert page.value(headings) == HEADINGS
    landmarks = (
        "['header', 'nav', 'main'].map(x => document.querySelectorAll(x).length)"
    )
    assert page.value(landmarks) == [1, 1, 1]
    links = (
        "[...document.querySelectorAll('nav a')].every("
        "a => document.querySelector(a.getAttribute('href')))"
    )
    assert page.value(links) is True
    assert page.asked == [address]
    assert page.complaints == []


def test_tables_sort_and_search_in_a_browser(finished: Audit, browser: Browser) -> None:
    page = browser.page()
    page.open((finished.path / "report.html").resolve().as_uri())
    table = "document.querySelector('#words table.sortable')"
    cells = (
        f"[...{table}.tBodies[0].rows].filter(row => !row.hidden)"
        ".map(row => row.cells[0].textContent)"
    )
    before = page.value(cells)
    assert len(before) > 1
    sort = f"{table}.tHead.rows[0].cells[0].querySelector('button').click()"
    page.value(sort)
    assert page.value(cells) == sorted(before, reverse=True)
    page.value(sort)
    assert page.value(cells) == sorted(before)
    page.value(
        "const field = document.querySelector('#words input');"
        f"field.value = '{before[0]}';"
        "field.dispatchEvent(new Event('input'))"
    )
    assert page.value(cells) == [before[0]]
    assert page.complaints == []


def test_the_table_of_shortcuts_fits_a_narrow_window(
    finished: Audit, tmp_path: Path, browser: Browser
) -> None:
    findings = gather(finished)
    assert findings.shortcuts is not None
    word = findings.shortcuts.words[0]
    long = replace(word.deciding, name="performances", label="disappointed")
    flips = Estimate(value=0.95, low=0.751, high=1.0, num=20)
    suspect = replace(
        word, deciding=long, removal_flips=flips, insertion_flips=flips, sufficiency=1.0
    )
    shortcuts = replace(findings.shortcuts, words=(suspect,))
    path = tmp_path / "report.html"
    path.write_text(render_report(replace(findings, shortcuts=shortcuts)))
    page = browser.page()
    page.look(width=780, height=900)
    page.open(path.as_uri())
    assert page.text("#shortcuts tbody td") == "disappointed\nsuspect"
    table = "document.querySelector('#shortcuts .scroll')"
    assert page.value(f"{table}.scrollWidth - {table}.clientWidth") == 0


def test_every_section_says_what_the_findings_say(finished: Audit) -> None:
    texts = " ".join(read(render_report(gather(finished))).texts)
    (row, *_) = sorted(read_parts(finished.path), key=lambda row: -row["divergence"])
    summary = json.loads((finished.path / "summary.json").read_bytes())
    for expected in (
        f"{summary['all']['agreement']:.1%}",
        f"{summary['all']['kept_share']:.1%}",
        f"{summary['all']['accuracy']:.1%}",
        f"{row['divergence']:.3f}",
        "AUPRC",
        summary["model"]["digest"],
    ):
        assert expected in texts


def test_texts_can_be_left_out(finished: Audit, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    place = ["--output", str(page), "--no-texts"]
    assert main(["report", str(finished.path), *place]) == 0
    content = "".join(read(page.read_text()).texts)
    assert "Texts explained worst, without the texts" in content
    assert not [
        row for row in read_parts(finished.path) if row["text"] in content.split("\n")
    ]
    assert 'class="strip"' not in page.read_text()


def test_two_audits_stand_side_by_side(finished: Audit, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle", version="4")
    newer = audit_tiny(tmp_path, tmp_path / "bundle", "--against", finished.path)
    texts = read((newer / "report.html").read_text()).texts
    assert "Two models side by side" in texts
    assert "rank correlation of scores" in texts


def test_figures_of_other_margins_are_said_to_be(finished: Audit) -> None:
    assert "margin of the probes, nats" not in _texts(
        gather(finished, against=finished)
    )
    looser = replace(finished, summary={**finished.summary, "margin": 0.5})
    texts = _texts(gather(finished, against=looser))
    place = texts.index("margin of the probes, nats")
    assert texts[place + 1 : place + 3] == ["0.1", "0.5"]


def test_changes_that_are_not_shown_are_told(finished: Audit) -> None:
    findings = gather(finished, against=finished)
    assert findings.comparison is not None
    changes = {(f"label {index}", "other"): index for index in range(40)}
    comparison = replace(findings.comparison, changes=changes)
    texts = _texts(replace(findings, comparison=comparison))
    assert "Predictions that differ, the 30 most frequent of 40 pairs" in texts
    assert ("label 10" in texts, "label 9" in texts) == (True, False)


def test_a_report_that_was_cut_off_is_made_again(
    tmp_path: Path, tiny_directory: Path
) -> None:
    folder = audit_tiny(tmp_path, tiny_directory)
    whole = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    (folder / "report.html").unlink()
    (folder / "shortcuts.json").rename(folder / ".shortcuts.json.partial")
    audit_tiny(tmp_path, tiny_directory)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == whole


def test_hashed_texts_make_a_report_without_words(
    tmp_path: Path, tiny_directory: Path
) -> None:
    folder = audit_tiny(tmp_path, tiny_directory, "--hash-texts")
    content = (folder / "report.html").read_text()
    assert "funny" not in content
    assert "None: the model has no single label, the texts were hashed" in content


def _spoil(folder: Path) -> None:
    """Put what is hostile wherever an audit has a name or a text."""
    for path in (folder / "parts").iterdir():
        table = pq.read_table(path)
        columns = {
            **dict.fromkeys(("text", "id", "label", "slice"), [EVIL] * len(table)),
            "prediction": [f"{EVIL}{index % 2}" for index in range(len(table))],
            "tokens": [[EVIL] * len(each) for each in table["tokens"].to_pylist()],
        }
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array(values, field.type))
        labels = json.dumps([f"{EVIL}0", f"{EVIL}1"])
        metadata = {**table.schema.metadata, b"diffmask.labels": labels}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    path = folder / "summary.json"
    summary = json.loads(path.read_bytes())
    summary["states"] = [f"{EVIL}{index}" for index in range(len(summary["states"]))]
    summary["model"] = dict.fromkeys(summary["model"], EVIL)
    path.write_text(json.dumps(summary | {"input_sha256": EVIL}))
    path = folder / "shortcuts.json"
    found = path.read_text().replace('"negative"', json.dumps(EVIL))
    path.write_text(json.dumps(json.loads(found) | {"way": EVIL}))


def test_hostile_texts_and_names_stay_texts(
    finished_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(finished_folder, folder)
    _spoil(folder)
    audit = open_audit(folder)
    findings = gather(audit, tagger=lambda words: [EVIL] * len(words), against=audit)
    content = render_report(findings)
    reader = read(content)
    assert "img" not in reader.tags
    assert "alert(1)" in "".join(reader.texts)
    assert content.count("<script>") == 1
    kinds = {category(char) for char in content.replace("\n", "")}
    assert not {kind for kind in kinds if kind.startswith("C")}


def test_the_page_says_what_accuracy_and_curves_leave_out(finished: Audit) -> None:
    findings = gather(finished)
    groups, (profile, *_) = findings.groups, findings.profiles.by_label
    all_texts = replace(groups.all, num_labelled=30, num_foreign=7)
    slices = tuple(replace(groups.all, name=f"slice {index}") for index in range(50))
    labels = tuple(
        replace(profile, name=f"label {index}", num_texts=index) for index in range(9)
    )
    texts = _texts(
        replace(
            findings,
            groups=replace(groups, all=all_texts, by_slice=slices),
            profiles=replace(findings.profiles, by_label=labels),
        )
    )
    assert any(each.startswith("Accuracy is over the 30 texts") for each in texts)
    assert any(
        each.startswith("7 texts have a label that is none of") for each in texts
    )
    assert any(
        each.startswith("Fidelity") and "the 40 largest of 50 slices" in each
        for each in texts
    )
    assert any(each.endswith("4 of fewer texts are left out") for each in texts)
    assert [each.name in texts for each in labels] == [False] * 4 + [True] * 5


def test_texts_that_were_cut_are_said_to_be(finished: Audit) -> None:
    findings = gather(finished)
    cut = replace(findings.worst[0], is_truncated=True)
    texts = _texts(replace(findings, worst=(cut, *findings.worst[1:])))
    told = [each for each in texts if "the model read only its beginning" in each]
    assert len(told) == 1


def test_what_has_no_figure_is_not_none(finished: Audit) -> None:
    findings = gather(finished)
    group = replace(findings.groups.all, violation=None)
    texts = _texts(replace(findings, groups=replace(findings.groups, all=group)))
    assert "not known" in texts
    assert "none" not in texts


def test_answers_stay_out_with_the_texts(tmp_path: Path) -> None:
    write_tiny_span_bundle(tmp_path / "bundle")
    rows = [["what", "a funny movie", "a funny"] for _ in range(3)]
    source = write_csv(tmp_path / "pairs.csv", [["text", "context", "gold"], *rows])
    folder = tmp_path / "audit"
    place = ["--bundle", str(tmp_path / "bundle"), "--output", str(folder)]
    columns = ["--pair-column", "context", "--label-column", "gold"]
    assert main(["audit", str(source), *place, *columns, "--no-texts"]) == 0
    assert "fun" in {row["prediction"] for row in read_parts(folder)}
    texts = read((folder / "report.html").read_text()).texts
    assert not [each for each in texts if "fun" in each]
    # There is no label to go by, so this is not said of it.
    assert "Kept share by state, of all texts" in texts


def test_audits_without_a_text_in_common_have_a_report(
    finished: Audit, tmp_path: Path
) -> None:
    write_tiny_bundle(tmp_path / "bundle", version="4")
    folder = audit_tiny(tmp_path, tmp_path / "bundle")
    for path in (folder / "parts").iterdir():
        table = pq.read_table(path)
        place = table.schema.get_field_index("scores")
        field = table.schema.field(place)
        nothing = pa.nulls(len(table), field.type)
        pq.write_table(table.set_column(place, field, nothing), path)
    for ours, theirs in (
        (finished, open_audit(folder)),
        (open_audit(folder), finished),
    ):
        assert "Two models side by side" in _texts(gather(ours, against=theirs))


def test_many_labels_make_no_endless_page(finished: Audit) -> None:
    findings = gather(finished)
    words = findings.vocabulary.words["negative"]
    many = {f"label {index}": words for index in range(500)}
    vocabulary = replace(findings.vocabulary, words=many, tokens=many)
    content = render_report(replace(findings, vocabulary=vocabulary))
    assert content.count("Words that decide label") == 12
    assert "of 500" in content


def test_ten_thousand_texts_make_a_page_of_bounded_size(
    finished_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(finished_folder, folder)
    multiply(folder, num_rows=10_000)
    content = render_report(gather(open_audit(folder)))
    assert "10,000 rows" in content
    assert len(content.encode()) < 5e6


@pytest.mark.parametrize("tag", ["JJ", "JJR"])
def test_tags_are_drawn_together(tag: str) -> None:
    from diffmask_service.audit.report.tagging import name_of  # noqa: PLC0415

    assert name_of(tag) == "adjective"
    assert name_of("WDT") == "determiner"
    assert name_of("FW") == "other"


def test_without_a_tagger_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    assert find_tagger() is None


def test_a_tagger_of_an_older_release_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.tag, "PerceptronTagger", lambda load=True: None)
    assert find_tagger() is None


@pytest.mark.parametrize("write", [write_tiny_span_bundle, write_tiny_pair_bundle])
def test_pairs_and_questions_have_a_report(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path / "bundle")
    rows = [[first, "a funny movie"] for first in random_texts(12)]
    source = write_csv(tmp_path / "pairs.csv", [["text", "context"], *rows])
    folder = tmp_path / "audit"
    place = ["--bundle", str(tmp_path / "bundle"), "--output", str(folder)]
    columns = ["--pair-column", "context", "--truncate"]
    assert main(["audit", str(source), *place, *columns]) == 0
    texts = read((folder / "report.html").read_text()).texts
    assert {"first text", "second text", "special tokens"} <= set(texts)
