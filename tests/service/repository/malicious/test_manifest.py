"""Manifests that lie, and JSON that no parser should take."""

from pathlib import Path

from diffmask_service.errors import ManifestError, SchemaVersionError
from tests.support import malice
from tests.support.refusal import Case, check_refusal, parametrise

NESTED: list[object] = []
for _ in range(40):
    NESTED = [NESTED]
CASES = (
    *(
        Case(
            f"file {name!r}",
            malice.entry(name, "graphs", "fp32", "file"),
            ManifestError,
            r"\$\.graphs\[\.\.\.\]\.file",
        )
        for name in (
            "../1/model.fp32.onnx",
            "/etc/passwd",
            "a/../../b.onnx",
            "..",
            "model.onnx\n",
            "model\0.onnx",
            "x" * 5000,
        )
    ),
    Case(
        "listed path",
        malice.entry({"sha256": "0" * 64, "num_bytes": 1}, "files", "../../etc/passwd"),
        ManifestError,
        r"\$\.files",
    ),
    Case(
        "many files",
        malice.entry(
            {f"{i}.txt": {"sha256": "0" * 64, "num_bytes": 1} for i in range(65)},
            "files",
        ),
        ManifestError,
        r"\$\.files: .*length <= 64",
    ),
    Case("path as id", malice.entry("../../tiny", "id"), ManifestError, r"\$\.id"),
    Case("other id", malice.entry("other", "id"), ManifestError, r"\$\.id: is 'other'"),
    Case(
        "other version",
        malice.entry("7", "version"),
        ManifestError,
        r"\$\.version: is '7'",
    ),
    Case("later schema", malice.entry(99, "schema_version"), SchemaVersionError, "99"),
    Case(
        "nested",
        malice.entry(NESTED, "provenance", "config", "deep"),
        ManifestError,
        "nested deeper than 32",
    ),
    Case(
        "nested without end",
        malice.words_of_manifest('"config": {}', f'"config": {"[" * 100_000}'),
        ManifestError,
        "nested too deep",
    ),
    Case(
        "key twice",
        malice.words_of_manifest('"id": "tiny"', '"id": "other", "id": "tiny"'),
        ManifestError,
        "the key 'id' twice",
    ),
    Case(
        "no number",
        malice.words_of_manifest('"accuracy": 1.0', '"accuracy": NaN'),
        ManifestError,
        "NaN, which is no number",
    ),
    Case(
        "infinite number",
        malice.words_of_manifest('"accuracy": 1.0', '"accuracy": 1e999'),
        ManifestError,
        "1e999, which is too large",
    ),
    Case(
        "long number",
        malice.words_of_manifest('"num_texts": 1', f'"num_texts": 1{"0" * 5000}'),
        ManifestError,
        "not valid JSON",
    ),
    Case(
        "half a character",
        malice.words_of_manifest('"negative"', '"\\ud800"'),
        ManifestError,
        "half of a surrogate pair",
    ),
    Case(
        "absurd length",
        malice.entry(10**9, "max_tokens"),
        ManifestError,
        r"\$\.max_tokens",
    ),
    Case(
        "absurd labels",
        malice.entry([str(i) for i in range(70_000)], "labels"),
        ManifestError,
        r"\$\.labels",
    ),
    Case(
        "absurd label",
        malice.entry(["a" * 2000, "b"], "labels"),
        ManifestError,
        r"\$\.labels\[0\]",
    ),
)


@parametrise(CASES)
async def test_the_bundle_is_refused_and_the_good_one_answers(
    tmp_path: Path, case: Case
) -> None:
    await check_refusal(tmp_path, case)
