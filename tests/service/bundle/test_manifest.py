import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.bundle.manifest import parse_manifest
from diffmask_service.errors import BundleError, ManifestError, SchemaVersionError
from tests.support.tiny import tiny_manifest


def spoilt(path: str, value: Any) -> bytes:
    header = json.loads(tiny_manifest().to_json())
    *parents, last = path.split(".")
    place = header
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return json.dumps(header).encode()


def test_a_manifest_survives_the_round_trip() -> None:
    manifest = tiny_manifest()
    assert parse_manifest(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("id", "../etc", "$.id"),
        ("id", "tiny\n", "$.id"),
        ("version", "0", "$.version"),
        ("task", "summarization", "$.task"),
        ("labels", [1, 2], "$.labels[0]"),
        ("max_tokens", "many", "$.max_tokens"),
        ("max_tokens", 2, "$.max_tokens"),
        ("states", [], "$.states"),
        ("padding", "left", "$.padding"),
        ("gates.hard_mask_threshold", 1.5, "$.gates.hard_mask_threshold"),
        ("graphs.fp32.file", "../model.onnx", "$.graphs[...].file"),
        ("graphs.fp32.fused_attentions", -1, "$.graphs[...].fused_attentions"),
        ("probes.input.states.1.kept_share", 2, "$.probes[...].states[1].kept_share"),
        ("accuracy", -0.1, "$.accuracy"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(path: str, value: Any, shown: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse_manifest(spoilt(path, value))
    assert raised.value.path == shown
    assert shown in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("default_graph", "w8", "not among graphs"),
        ("states", ["a", "a", "b"], "states holds a name twice"),
        ("labels", ["a", "a"], "labels holds a name twice"),
        ("labels", ["one"], "holds 1 names, which text_classification cannot have"),
        ("task", "question_answering", "holds 2 names, which question_answering"),
        ("value", {"scale": 1.0, "tolerance": 0.5}, "value is for regression"),
        ("states", ["a", "b", "c"], r"probes\.input\.states does not match"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    path: str, value: Any, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(spoilt(path, value))


def test_a_missing_field_is_named() -> None:
    header = json.loads(tiny_manifest().to_json())
    del header["labels"]
    with pytest.raises(ManifestError, match="labels"):
        parse_manifest(json.dumps(header).encode())


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestError, match="not valid JSON"):
        parse_manifest(raw)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"schema_version": true}'])
def test_without_a_schema_version_nothing_is_read(raw: bytes) -> None:
    with pytest.raises(ManifestError, match="schema_version"):
        parse_manifest(raw)


def test_a_future_schema_version_is_told_from_a_mistake() -> None:
    with pytest.raises(SchemaVersionError, match=r"version 2; .* reads up to 1"):
        parse_manifest(spoilt("schema_version", 2))


@given(st.binary(max_size=64))
def test_whatever_is_read_ends_in_an_error_of_ours(raw: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(raw)


HISTOGRAMS = {
    "bin_edges": [0.0, 0.5],
    "kept_share": [[[1, 0, 2]] * 3] * 2,
    "mean_gate": [[[0, 3, 0]] * 3] * 2,
}


def test_histograms_survive_the_round_trip() -> None:
    manifest = parse_manifest(spoilt("reference.input.histograms", HISTOGRAMS))
    histograms = manifest.reference["input"].histograms
    assert histograms is not None
    assert histograms.kept_share[1][2] == (1, 0, 2)
    assert parse_manifest(manifest.to_json()) == manifest


def test_a_reference_of_an_earlier_release_has_no_histograms() -> None:
    header = json.loads(tiny_manifest().to_json())
    for reference in header["reference"].values():
        del reference["histograms"]
    manifest = parse_manifest(json.dumps(header).encode())
    assert manifest.reference["input"].histograms is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bin_edges": [0.5, 0.5]}, "bin_edges must rise"),
        ({"mean_gate": [[[0, 3, 0]] * 2] * 2}, "differ in their axes"),
        ({"bin_edges": [0.0]}, "needs 2 bins in every state"),
        (
            {"kept_share": [[[1, 0, 2]] * 2] * 2, "mean_gate": [[[1, 0, 2]] * 2] * 2},
            "must hold 3 states",
        ),
        (
            {"kept_share": [[[1, 0, 2]] * 3] * 3, "mean_gate": [[[1, 0, 2]] * 3] * 3},
            "hold 3 labels, not 1 or 2",
        ),
        ({"kept_share": [[[1, -1, 2]] * 3] * 2}, ">= 0"),
    ],
)
def test_wrong_histograms_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(spoilt("reference.input.histograms", HISTOGRAMS | changes))
