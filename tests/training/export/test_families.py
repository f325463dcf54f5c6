"""Each family from its classifier to a bundle that the service serves."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from diffmask_service.app import open_engine
from diffmask_service.bundle import Manifest, read_bundle
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.cli import main
from diffmask_training.config import ExportConfig
from diffmask_training.export.write import build_module, export
from tests.support.checkpoint import FAMILIES, write_checkpoint, write_texts
from tests.support.replies import labelled

TEXTS = ("good film .", "the plot is dull and it was awful", "unknownword")
WITH_SEGMENTS = {"albert", "bert", "electra"}
# Their attention scores positions by what stands there.
UNFUSED = {"deberta", "deberta-v2"}


@pytest.fixture(scope="module", params=FAMILIES)
def config(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ExportConfig:
    """Settings of an export that was done: classifier, both probes and bundle exist."""
    root = tmp_path_factory.mktemp(request.param)
    write_checkpoint(root / "checkpoint", family=request.param)
    write_texts(root / "texts.jsonl", num_texts=40)
    for kind in ("input", "hidden"):
        main(
            [
                *("fit", "--kind", kind, "--epochs", "1", "--epoch-steps", "0"),
                *("--data", str(root), "--train", "texts.jsonl"),
                *("--checkpoint", str(root / "checkpoint")),
                *("--probes", str(root / "probes")),
            ]
        )
    config = ExportConfig(
        data=root,
        train=Path("texts.jsonl"),
        checkpoint=root / "checkpoint",
        probes=root / "probes",
        bundle=root / "bundle",
        id=request.param,
        precisions=("fp32", "w8"),
        force=True,
    )
    export(config)
    return config


@pytest.fixture
def manifest(config: ExportConfig) -> Manifest:
    return read_bundle(config.bundle).manifest


def test_parity_holds_alone_and_batched_up_to_the_longest_text(
    manifest: Manifest,
) -> None:
    parity = manifest.parity
    assert manifest.max_tokens == 512
    assert parity.lengths == (3, 4, 17, 128, 512)
    assert max(parity.max_logit_difference, parity.max_gate_difference) <= 1e-5


def test_graph_takes_segments_where_the_model_has_them(manifest: Manifest) -> None:
    segments = ("token_type_ids",) if manifest.id in WITH_SEGMENTS else ()
    assert manifest.inputs == ("input_ids", "attention_mask", *segments, "keep")


def test_attention_of_every_block_is_fused_where_it_can_be(manifest: Manifest) -> None:
    expected = 0 if manifest.id in UNFUSED else 2
    assert manifest.graphs["fp32"].fused_attentions == expected


def test_card_says_how_attention_runs(config: ExportConfig, manifest: Manifest) -> None:
    card = (config.bundle / "README.md").read_text(encoding="utf-8")
    is_unfused = manifest.id in UNFUSED
    assert ("Fused attentions: none" in card) is is_unfused
    assert ("Fused attentions: 2" in card) is not is_unfused


def test_service_gives_what_pytorch_gives(config: ExportConfig) -> None:
    classifier = load_classifier(config.checkpoint)
    module = build_module(
        classifier, {k: load_probe(config.probes, k) for k in ("input", "hidden")}
    )
    engine = open_engine(config.bundle)
    try:
        inputs = [TextInput(text=text) for text in TEXTS]
        reply = asyncio.run(engine.explain(inputs, ExplainOptions()))
    finally:
        engine.close()
    for text, explanation in zip(TEXTS, reply.explanations, strict=True):
        tokens = classifier.tokenizer(
            text, return_tensors="pt", return_token_type_ids=True
        )
        with torch.no_grad():
            logits, input_gates, hidden_gates = module(
                dict(tokens), torch.ones(tokens["input_ids"].shape)
            )
        for found, expected in (
            (labelled(explanation.prediction).logits, logits[0]),
            (explanation.input_gates, input_gates[0]),
            (explanation.hidden_gates, hidden_gates[0]),
        ):
            assert found is not None
            assert np.abs(found - expected.numpy()).max() <= 1e-5
