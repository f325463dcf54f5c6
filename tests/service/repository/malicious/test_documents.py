"""Self-tests and tokenizers that are none."""

from pathlib import Path

from diffmask_service.errors import BundleError, SelfTestError
from tests.support import malice
from tests.support.refusal import Case, check_refusal, parametrise

CASES = (
    Case(
        "self-test not a number",
        malice.content("selftest.json", b'{"tolerance": NaN, "cases": []}'),
        BundleError,
        r"selftest\.json: holds NaN",
    ),
    Case(
        "self-test nested",
        malice.content("selftest.json", b"[" * 100_000),
        BundleError,
        r"selftest\.json: is nested too deep",
    ),
    Case(
        "self-test of any tolerance",
        malice.document("selftest.json", lambda test: test.update(tolerance=1e9)),
        BundleError,
        r"selftest\.json: .*tolerance",
    ),
    Case(
        "self-test of nothing",
        malice.document("selftest.json", lambda test: test["cases"].clear()),
        BundleError,
        r"selftest\.json: holds no cases",
    ),
    Case(
        "self-test of many cases",
        malice.document(
            "selftest.json", lambda test: test.update(cases=test["cases"] * 257)
        ),
        BundleError,
        r"selftest\.json: .*length <= 256",
    ),
    Case(
        "self-test of other values",
        malice.document(
            "selftest.json", lambda test: test["cases"][0].update(logits=[1.0, -1.0])
        ),
        SelfTestError,
        "logits differs",
    ),
    Case(
        "self-test of other shape",
        malice.document(
            "selftest.json", lambda test: test["cases"][0].update(input_gates=[[]])
        ),
        SelfTestError,
        "input_gates has shape",
    ),
    Case(
        "no tokenizer",
        malice.content("tokenizer.json", b"{}"),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    Case(
        "tokenizer in no characters",
        malice.content("tokenizer.json", b"\xff\xfe"),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    Case(
        "tokenizer nested",
        malice.content("tokenizer.json", b"[" * 100_000),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    Case(
        "tokenizer that panics",
        malice.document(
            "tokenizer.json",
            lambda own: own["post_processor"]["single"][2]["SpecialToken"].update(
                id="x"
            ),
        ),
        SelfTestError,
        "the tokenizer failed",
    ),
    Case(
        "tokenizer of other tokens",
        malice.document(
            "tokenizer.json",
            lambda own: own["model"]["vocab"].update(good=10, movie=5),
        ),
        SelfTestError,
        "the tokenizer gives",
    ),
    Case(
        "token that the graph does not know",
        malice.document(
            "tokenizer.json", lambda own: own["model"]["vocab"].update(x=2**32 - 1)
        ),
        SelfTestError,
        r"tokenizer\.json, token 4294967295: the graph failed",
    ),
)


@parametrise(CASES)
async def test_the_bundle_is_refused_and_the_good_one_answers(
    tmp_path: Path, case: Case
) -> None:
    await check_refusal(tmp_path, case)
