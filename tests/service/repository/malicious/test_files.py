"""Files that are links, strangers, cut, grown or too large."""

from pathlib import Path

from diffmask_service.errors import BundleError, DigestMismatch
from tests.support import malice
from tests.support.malice import GRAPH, Spoiler
from tests.support.refusal import Case, check_refusal, parametrise
from tests.support.tiny import tiny_files

FILES = tuple(tiny_files())


def without(name: str) -> Spoiler:
    """Take a file away."""
    return lambda folder: (folder / name).unlink()


CASES = (
    Case(
        "link", malice.linked("tokenizer.json", is_hard=False), BundleError, "is a link"
    ),
    Case("graph linked", malice.linked(GRAPH, is_hard=False), BundleError, "is a link"),
    Case(
        "manifest linked",
        malice.linked("manifest.json", is_hard=False),
        BundleError,
        r"manifest\.json: is a link",
    ),
    Case("hard link", malice.linked(GRAPH, is_hard=True), BundleError, "has 2 names"),
    Case("folder linked", malice.folder_linked, BundleError, "2: is a link"),
    Case("pipe", malice.pipe, BundleError, r"README\.md: is no plain file"),
    Case(
        "folder for file", malice.device, BundleError, r"README\.md: is no plain file"
    ),
    Case(
        "stranger",
        malice.stranger("libcustom.so"),
        BundleError,
        r"'libcustom\.so': is not listed",
    ),
    Case(
        "pickle",
        malice.content("weights.pkl", b"cos\nsystem\n(S'true'\ntR."),
        BundleError,
        r"weights\.pkl: is of a kind",
    ),
    Case(
        "library",
        malice.content("custom_ops.so", b"\x7fELF"),
        BundleError,
        r"custom_ops\.so: is of a kind",
    ),
    Case(
        "archive",
        malice.content("model.zip", b"PK\x03\x04"),
        BundleError,
        r"model\.zip: is of a kind",
    ),
    Case(
        "large manifest",
        malice.resized("manifest.json", 9 << 20),
        BundleError,
        r"manifest\.json: has 9437184 bytes",
    ),
    Case(
        "large card",
        malice.resized("README.md", 2 << 20),
        BundleError,
        r"README\.md: has 2097152 bytes",
    ),
    Case("large graph", malice.resized(GRAPH, 3 << 30), BundleError, "has 3221225472"),
    Case(
        "large tokenizer",
        malice.resized("tokenizer.json", 1 << 40),
        BundleError,
        r"tokenizer\.json: has 1099511627776 bytes",
    ),
    Case(
        "swapped",
        malice.replaced("selftest.json", lambda _: tiny_files()["tokenizer.json"]),
        DigestMismatch,
        r"selftest\.json: its bytes",
    ),
    *(
        Case(
            f"{name} cut", malice.replaced(name, lambda b: b[:-1]), DigestMismatch, name
        )
        for name in FILES
    ),
    *(
        Case(
            f"{name} empty", malice.replaced(name, lambda _: b""), DigestMismatch, name
        )
        for name in FILES
    ),
    *(
        Case(
            f"{name} grown",
            malice.replaced(name, lambda b: b + b"\0"),
            DigestMismatch,
            name,
        )
        for name in FILES
    ),
    *(
        Case(
            f"{name} without",
            without(name),
            BundleError,
            f"{name}: cannot be read",
        )
        for name in (*FILES, "manifest.json")
    ),
)


@parametrise(CASES)
async def test_the_bundle_is_refused_and_the_good_one_answers(
    tmp_path: Path, case: Case
) -> None:
    await check_refusal(tmp_path, case)
