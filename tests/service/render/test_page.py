import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from diffmask_service.core.values import Explanation, TextInput
from diffmask_service.render import Report, render_page
from tests.support.replies import (
    LABELS,
    TEXT,
    bare_explanation,
    explanation,
    reply,
    units,
)

VOID = {"meta", "wbr"}
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Checks that tags nest, and collects text and attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def page(*explanations: Explanation, text: TextInput | None = None) -> str:
    report = Report(
        inputs=(text or TextInput(text=TEXT),) * max(1, len(explanations)),
        reply=reply(*explanations),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )
    return render_page(report)


def read(content: str) -> Reader:
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert not reader.open
    return reader


def test_page_asks_nobody_for_anything() -> None:
    content = page()
    names = {name for name, _ in read(content).attributes}
    assert not names & {"src", "href", "srcset", "action", "poster", "data"}
    assert not re.search(r"url\(|@import|@font-face|https?:", content)


def test_page_forbids_scripts_and_requests() -> None:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("content", policy) in read(page()).attributes


def test_page_holds_every_number() -> None:
    content = page()
    original = reply().explanations[0]
    assert original.input_gates is not None
    assert original.hidden_gates is not None
    for value in (*original.input_gates.flat, *original.hidden_gates.flat):
        assert f": {value:.4f}" in content


def test_page_says_what_was_predicted_by_which_model() -> None:
    texts = " ".join(read(page()).texts)
    for expected in ("positive", "98.7%", "1.3%", "sst2-minilm", "5e1f" * 16, "w8"):
        assert expected in texts


def test_page_marks_where_a_token_can_be_dropped() -> None:
    assert page().count('edge"') == 16 + 1  # tokens, and the legend


def test_page_shows_the_verification() -> None:
    texts = read(page()).texts
    assert "holds" in texts
    assert "0.0312 nats" in texts


@pytest.mark.parametrize("has_gates", [True, False])
def test_hostile_text_stays_text(*, has_gates: bool) -> None:
    hostile_units = replace(units(), texts=(HOSTILE, *units().texts[1:]))
    item = replace(explanation(), units=hostile_units)
    content = page(
        item if has_gates else bare_explanation(),
        text=TextInput(text=HOSTILE, text_pair=HOSTILE),
    )
    reader = read(content)
    assert not reader.tags & {"script", "img"}
    assert "alert(1)" in "".join(reader.texts)


def test_hostile_label_stays_text() -> None:
    report = Report(
        inputs=(TextInput(text=TEXT),),
        reply=replace(reply(), states=("<b>",) * 8),
        labels=("<i>", HOSTILE),
        hard_mask_threshold=0.5,
    )
    assert not read(render_page(report)).tags & {"script", "img", "b"}


def test_strip_colours_words_where_they_stand() -> None:
    content = page()
    strip = re.search(r'<p class="strip">(.*?)</p>', content, re.DOTALL)
    assert strip is not None
    assert re.sub("<.*?>", "", strip[1]) == TEXT
    assert 'title="score 0.8519">stunning</span>, <span' not in strip[1]
    assert re.search(r"<span [^>]*>stunning</span>", strip[1])


def test_prediction_alone_has_no_map() -> None:
    reader = read(page(bare_explanation()))
    assert "table" not in reader.tags
    assert "98.7%" in reader.texts


def test_truncation_is_said() -> None:
    item = replace(explanation(), is_truncated=True)
    assert "cut to its first 16 tokens" in page(item)
