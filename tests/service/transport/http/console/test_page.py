"""The console's page in Chromium, against what the same server says over gRPC."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffmask_service.client import Client
from diffmask_service.core.values import Reply, TextInput
from diffmask_service.render import Report, render_page
from tests.support.browser import Browser, Page
from tests.support.process import ServerProcess, running_server
from tests.support.replies import labelled
from tests.support.tiny import LABELS, STATES

TEXT = "a good, funny movie"
TOKEN = "inference-token-0123456789"
ANSWERED = "!document.getElementById('answer').hidden"
# Of every coloured cell: its text, its value and its marks.
CELLS = """[...document.querySelectorAll("%s td.shade")].map((cell) => [
  cell.textContent, cell.style.getPropertyValue("--p"), cell.className])"""


@pytest.fixture(scope="module")
def server(tiny_directory: Path) -> Iterator[ServerProcess]:
    with running_server(tiny_directory, console=True) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: ServerProcess) -> Page:
    return ready_page(browser, server)


@pytest.fixture
def answered(page: Page) -> Page:
    return explained(page, TEXT)


def ready_page(browser: Browser, server: ServerProcess) -> Page:
    page = browser.page()
    page.look(width=1180, height=900)
    page.open(server.console_url)
    page.until("document.querySelectorAll('#model option').length")
    return page


def explained(page: Page, text: str) -> Page:
    page.write("#text", text)
    page.click("#ask .main")
    page.until(ANSWERED)
    return page


def by_grpc(
    server: ServerProcess, *, masked_tokens: tuple[int, ...] = (), **options: Any
) -> Reply:
    with Client(server.grpc_target) as client:
        text = TextInput(text=TEXT, masked_tokens=masked_tokens)
        return client.explain([text], **options)


def probabilities(page: Page) -> list[str]:
    """Return what the bars say, label by label."""
    shown: list[str] = page.value(
        "[...document.querySelectorAll('#bars dd.number')].map((x) => x.textContent)"
    )
    return shown


def percents(values: Any) -> list[str]:
    return [f"{value:.1%}" for value in values]


def test_the_heat_maps_hold_the_gates_of_the_grpc_reply(
    answered: Page, server: ServerProcess
) -> None:
    (explanation,) = by_grpc(server).explanations
    assert explanation.scores is not None
    assert explanation.input_gates is not None
    assert explanation.hidden_gates is not None
    shown = answered.value(CELLS % "#input-map")
    want = np.vstack([explanation.scores, explanation.input_gates]).T
    assert [value for _, value, _ in shown] == [f"{x:.4f}" for x in want.flat]
    shown = answered.value(CELLS % "#hidden-map")
    want = explanation.hidden_gates.T
    assert [value for _, value, _ in shown] == [f"{x:.4f}" for x in want.flat]


def test_the_heat_maps_are_drawn_as_in_a_page_of_its_own(
    answered: Page, server: ServerProcess
) -> None:
    report = Report(
        inputs=(TextInput(text=TEXT),),
        reply=by_grpc(server),
        labels=LABELS,
        hard_mask_threshold=0.5,
    )
    want = re.findall(
        r'<td class="([^"]*)" style="--p:([\d.]+)"[^>]*>(.*?)</td>', render_page(report)
    )
    shown = answered.value(CELLS % "#answer")
    assert [(text, value) for text, value, _ in shown] == [
        (text, value) for _, value, text in want
    ]
    assert [set(marks.split()) for *_, marks in shown] == [
        set(marks.split()) for marks, *_ in want
    ]


def test_the_prediction_is_the_grpc_reply_s(
    answered: Page, server: ServerProcess
) -> None:
    prediction = labelled(by_grpc(server).explanations[0].prediction)
    assert probabilities(answered) == percents(prediction.probabilities)
    assert answered.text("#verdict strong") == prediction.label


def test_a_token_that_is_pressed_is_out_of_the_model_s_sight(
    answered: Page, server: ServerProcess
) -> None:
    before = probabilities(answered)
    # [CLS] a good , fun ##ny movie [SEP]
    for place in (2, 4):
        answered.click(f"#strip [data-token='{place}']")
    answered.until("document.getElementById('what-if').textContent.includes('fun')")
    reply = by_grpc(server, masked_tokens=(2, 4))
    prediction = labelled(reply.explanations[0].prediction)
    assert probabilities(answered) == percents(prediction.probabilities) != before
    pressed = answered.value(
        "[...document.querySelectorAll('#strip [aria-pressed=true]')]"
        ".map((x) => x.textContent)"
    )
    assert pressed == ["good", "fun"]
    answered.click("#show-all")
    answered.until("!document.getElementById('what-if').textContent")
    assert probabilities(answered) == before


def test_verifying_gives_the_grpc_reply_s_verification(
    answered: Page, server: ServerProcess
) -> None:
    answered.click("#verify")
    answered.until("document.querySelector('#verified td')")
    reply = by_grpc(server, verify=True)
    (verification,) = reply.explanations[0].verifications
    cells = answered.text("#verified tr:last-child").split("\t")
    said = labelled(verification.prediction)
    assert cells == [
        "score",
        f"{verification.kept_share:.1%}",
        "holds",
        f"{said.label} {said.probabilities.max():.1%}",
        f"{verification.divergence:.4f} nats",
    ]


def test_the_keyboard_is_enough(page: Page) -> None:
    page.write("#text", TEXT)
    page.press("Enter", ctrl=True)
    page.until(ANSWERED)
    # Explain, the check box, and then one stop for all tokens.
    for _ in range(3):
        page.press("Tab")
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowLeft", " "):
        page.press(key)
    page.until("document.getElementById('what-if').textContent")
    focused = "document.activeElement"
    assert page.value(f"{focused}.textContent") == "movie"
    assert page.value(f"{focused}.getAttribute('aria-pressed')") == "true"
    for _ in range(3):
        page.press("Tab")
    assert page.value(f"{focused}.id") == "mask"


def test_every_control_has_a_name(answered: Page) -> None:
    answered.click("#verify")
    answered.until("document.querySelector('#verified td')")
    controls = answered.controls()
    roles = {role for role, _ in controls}
    assert {"textbox", "checkbox", "combobox", "button", "link"} <= roles
    assert ("button", "good, score 0.75") in controls
    answered.value("location.hash = '#watch'")
    answered.until("document.querySelector('#sparsity td.shade')")
    controls += answered.controls()
    assert ("button", "Pause") in controls
    assert [role for role, name in controls if not name] == []


def test_nothing_is_complained_of_and_nobody_else_asked(answered: Page) -> None:
    answered.click("#verify")
    answered.until("document.querySelector('#verified td')")
    answered.click("#strip [data-token='1']")
    answered.until("document.getElementById('what-if').textContent")
    answered.value("location.hash = '#watch'")
    answered.until("document.querySelectorAll('#charts svg').length === 4")
    origin = answered.value("location.origin")
    assert answered.complaints == []
    assert [url for url in answered.asked if not url.startswith(origin)] == []


def test_a_text_that_is_too_long_is_refused_in_the_api_s_words(page: Page) -> None:
    page.write("#text", "a " * 20)
    page.click("#ask .main")
    page.until("document.getElementById('failure').textContent")
    said = "inputs[0] has 22 tokens, special tokens counted; the model takes 12."
    assert page.text("#failure").startswith(said)
    assert page.value("document.getElementById('answer').hidden")
    page.click("#truncate")
    page.click("#ask .main")
    page.until(ANSWERED)
    assert "cut to its first 12 tokens" in page.text("#cut")


def test_a_hostile_text_stays_text(page: Page) -> None:
    explained(page, "<u>good</u>")
    assert page.value("document.querySelectorAll('#answer u').length") == 0
    assert "<u>good</u>" in page.text("#strip")
    assert page.complaints == []


@pytest.mark.parametrize("hash_", ["#try", "#watch"])
def test_a_narrow_window_does_not_scroll_sideways(answered: Page, hash_: str) -> None:
    answered.value(f"location.hash = '{hash_}'")
    answered.look(width=360, height=800)
    page_width = "document.documentElement.scrollWidth"
    assert answered.value(page_width) <= 360


def test_the_sparsity_is_that_of_the_metrics(
    answered: Page, server: ServerProcess
) -> None:
    answered.value("location.hash = '#watch'")
    answered.until("document.querySelector('#sparsity td.shade')")
    shown = answered.value(CELLS % "#sparsity")
    with urllib.request.urlopen(server.metrics_url) as reply:
        metrics = reply.read().decode()

    def counted(name: str, kind: str, state: str) -> float:
        labels = f'kind="{kind}",model="tiny",state="{state}",version="3"'
        found = re.search(rf"^{name}{{{labels}}} (\S+)$", metrics, re.MULTILINE)
        assert found is not None
        return float(found[1])

    want = [
        counted(f"diffmask_gate_{figure}_total", kind, state)
        / counted("diffmask_gate_tokens_total", kind, state)
        for state in STATES
        for kind in ("input", "hidden")
        for figure in ("kept_tokens", "openness")
    ]
    assert [value for _, value, _ in shown] == [f"{value:.4f}" for value in want]


def test_quantiles_are_prometheus_own(page: Page) -> None:
    def text(*counts: int) -> str:
        bounds = ("0.1", "0.2", "0.4", "+Inf")
        return "\n".join(
            f'wait_bucket{{le="{bound}",model="a \\"b\\""}} {count}'
            for bound, count in zip(bounds, counts, strict=True)
        )

    def quantile(share: float) -> float:
        found = page.value(
            f"""import("./prometheus.js").then(({{Reading, quantile}}) => quantile(
            {share}, "wait", {{model: 'a "b"'}},
            new Reading({json.dumps(text(10, 20, 30, 40))}, 2),
            new Reading({json.dumps(text(10, 10, 10, 10))}, 0)))"""
        )
        return float(found)

    # Of thirty, ten lie in each bucket but the first.
    assert quantile(0.5) == pytest.approx(0.3)
    assert quantile(1 / 3) == pytest.approx(0.2)
    assert quantile(0.9) == pytest.approx(0.4)


def test_a_wrong_token_is_refused_and_a_right_one_let_in(
    browser: Browser, tiny_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    flags = {"console": True, "inference_token_file": tmp_path / "tokens"}
    with running_server(tiny_directory, **flags) as guarded:
        page = browser.page()
        page.open(guarded.console_url)
        for token in ("wrong-token-0123456789", TOKEN):
            page.until("!document.getElementById('access').hidden")
            assert "send a valid token" in page.text("#access .reason")
            assert page.value("document.querySelectorAll('#model option').length") == 0
            page.write("#access input", token)
            page.press("Enter")
        page.until("document.querySelectorAll('#model option').length")
        explained(page, TEXT)
        assert page.value("document.getElementById('access').hidden")
        kept = page.value("[localStorage.length, document.cookie]")
    assert kept == [0, ""]
