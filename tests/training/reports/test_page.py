import re
from html.parser import HTMLParser

import pytest

from diffmask_training.faithfulness.complexity import (
    Complexity,
    KeptShare,
    ScoreComplexity,
)
from diffmask_training.faithfulness.masks import MaskFigures
from diffmask_training.faithfulness.rankings import RankingFigure
from diffmask_training.figures import Figures, StateFigures
from diffmask_training.leakage.verdicts import Check
from diffmask_training.metrics.intervals import Comparison, Estimate
from diffmask_training.reports.page import render_page
from diffmask_training.reports.values import (
    Example,
    ExampleToken,
    Provenance,
    Report,
)


def _estimate(mean: float, spread: float = 0.05) -> Estimate:
    return Estimate(
        mean=mean, low=mean - spread, high=mean + spread, num_texts=9, num_undefined=1
    )


def _comparison(score: float, control: float) -> Comparison:
    return Comparison(
        score=_estimate(score),
        control=_estimate(control),
        gain=_estimate(score - control),
    )


def _figures() -> Figures:
    return Figures(
        num_texts=10,
        accuracy=0.9,
        macro_f1=0.89,
        states=(
            StateFigures(
                state="block_1",
                kept_share=0.25,
                agreement=0.95,
                divergence=0.123,
                excess=0.01,
                violation_rate=0.2,
                accuracy=0.88,
                macro_f1=0.87,
            ),
        ),
    )


def _bare() -> Report:
    return Report(
        provenance=Provenance(
            checkpoint="runs/checkpoint",
            probes="runs/probes",
            labels=("negative", "positive"),
            states=("block_1",),
            margin=0.1,
            num_test_texts=10,
            num_texts=9,
            seed=3,
            random_orders=5,
            is_feasible={"input": True},
            versions={"torch": "2"},
            config={},
        ),
        figures={"input": _figures()},
    )


@pytest.fixture
def report() -> Report:
    bare = _bare()
    token = ExampleToken(
        text="<script>alert(1)</script>",
        score=0.7,
        gates=(0.7,),
        is_special=False,
        is_kept=True,
    )
    return Report(
        provenance=bare.provenance,
        figures=bare.figures,
        masks=(
            MaskFigures(
                kind="input",
                state="block_1",
                removal="mask_token",
                kept_share=_estimate(0.4),
                agreement=_comparison(0.9, 0.6),
                complement_agreement=_comparison(0.3, 0.5),
                divergence=_comparison(0.1, 0.8),
                violation_rate=_comparison(0.2, 0.7),
            ),
        ),
        rankings=(
            RankingFigure(
                name="comprehensiveness",
                explainer="DiffMask",
                removal="mask_token",
                comparison=_comparison(0.5, -0.25),
            ),
            RankingFigure(
                name="sufficiency",
                explainer="DiffMask",
                removal="mask_token",
                comparison=_comparison(0.5, 0.2),
            ),
            RankingFigure(
                name="racu",
                explainer="DiffMask",
                removal="mask_token",
                comparison=None,
            ),
        ),
        complexity=Complexity(
            scores=(
                ScoreComplexity(
                    explainer="DiffMask", gini=_estimate(0.3), entropy=None
                ),
            ),
            kept_shares=(
                KeptShare(
                    kind="input",
                    state="block_1",
                    label="negative",
                    kept_share=_estimate(0.3),
                ),
                KeptShare(
                    kind="input", state="block_1", label="positive", kept_share=None
                ),
            ),
            drop_layer=_estimate(2.0),
        ),
        leakage=(
            Check(
                test="mask_only",
                kind="input",
                state="block_1",
                figure=_estimate(0.3),
                threshold=0.1,
                verdict="leak",
                detail="80.0% of labels told from the pattern",
            ),
        ),
        examples=(
            Example(
                tokens=(token,),
                label="positive",
                probability=0.9,
                kept_probability=0.4,
                divergence=0.6,
                is_agreeing=False,
            ),
        ),
    )


class _Tags(HTMLParser):
    """Collects the tags of a page and checks that they close in order."""

    VOID = frozenset({"meta", "br", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def _parsed(page: str) -> _Tags:
    parser = _Tags()
    parser.feed(page)
    assert not parser.open
    return parser


def test_page_asks_nobody_for_anything(report: Report) -> None:
    page = render_page(report)
    tags = _parsed(page)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "iframe", "object", "a"}
    attributes = {name for _, given in tags.seen for name in given}
    assert not attributes & {"src", "href", "onload", "srcset"}
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_texts_cannot_write_markup(report: Report) -> None:
    page = render_page(report)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_figure_stands_beside_its_control_and_interval(report: Report) -> None:
    page = render_page(report)
    row = page[page.index("comprehensiveness (AOPC)") :]
    row = row[: row.index("</tr>")]
    minus = "\N{MINUS SIGN}"
    control = (f"{minus}0.250", f"{minus}0.300 to {minus}0.200")
    for number in ("0.500", "0.450 to 0.550", *control, "0.750"):
        assert number in row
    assert "better" in row


def test_figure_that_is_better_when_low_is_worse_when_high(report: Report) -> None:
    page = render_page(report)
    row = page[page.index("sufficiency (AOPC)") :]
    assert ">worse" in row[: row.index("</tr>")]
    assert "1 of 2" in page


def test_figure_without_enough_texts_is_said_to_have_none(report: Report) -> None:
    page = render_page(report)
    row = page[page.index("RACU") :]
    assert "fewer than two" in row[: row.index("</tr>")]


def test_shades_start_at_zero_and_are_not_rescaled(report: Report) -> None:
    # The shade of every cell is its value, whatever else stands in its table.
    page = render_page(report)
    cells = re.findall(r'style="--p:([\d.]+)">([\d.]+)%<', page)
    assert len(cells) >= 9
    for shade, percent in cells:
        assert float(shade) == pytest.approx(float(percent) / 100, abs=0.001)


def test_marks_lie_where_their_values_do(report: Report) -> None:
    # From -1 to 1: 0.5 is at three quarters, -0.25 at three eighths.
    page = render_page(report)
    plot = page[page.index("<svg") : page.index("</svg>")]
    assert 'class="zero" x1="50.0"' in plot
    assert 'class="score tick" x1="75.0"' in plot
    assert 'class="control tick" x1="37.5"' in plot
    assert 'class="score" x1="72.5" x2="77.5"' in plot


def test_leak_is_said_at_the_top(report: Report) -> None:
    page = render_page(report)
    assert page.index("masks leak") < page.index("comprehensiveness")


def test_report_of_hard_masks_alone_is_a_page_too() -> None:
    page = render_page(_bare())
    _parsed(page)
    assert "not tested" in page
    assert "Are the words in the right order?" not in page
