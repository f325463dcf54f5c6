"""From a classifier and a file of texts to a bundle that the service serves."""

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffmask_service.app import open_engine
from diffmask_service.bundle import read_bundle
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session
from diffmask_service.errors import BundleError
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.cli import main
from diffmask_training.config import ExportConfig, VerifyConfig
from diffmask_training.errors import CheckpointError, InfeasibleError, ParityError
from diffmask_training.export.rederive import verify_bundle
from diffmask_training.export.verify import (
    LENGTHS,
    check_parity,
    in_float64,
    is_faithful,
)
from diffmask_training.export.write import build_module, export
from diffmask_training.runtime import GraphRuntime
from tests.support.checkpoint import write_checkpoint, write_texts
from tests.support.replies import labelled


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier, texts and both probes, fitted by the command."""
    root = tmp_path_factory.mktemp("fitted")
    write_checkpoint(root / "checkpoint")
    write_texts(root / "texts.jsonl")
    for kind in ("input", "hidden"):
        main(
            [
                "fit",
                "--kind",
                kind,
                "--epochs",
                "2",
                "--epoch-steps",
                "0",
                *_flags(root),
            ]
        )
    return root


def _flags(root: Path) -> list[str]:
    return [
        *("--data", str(root), "--train", "texts.jsonl"),
        *("--checkpoint", str(root / "checkpoint"), "--probes", str(root / "probes")),
    ]


@pytest.fixture(scope="module")
def config(fitted: Path) -> ExportConfig:
    return ExportConfig(
        data=fitted,
        train=Path("texts.jsonl"),
        checkpoint=fitted / "checkpoint",
        probes=fitted / "probes",
        bundle=fitted / "bundle",
        id="tiny",
        precisions=("fp32", "w8", "int8"),
        force=True,
    )


@pytest.fixture(scope="module")
def bundle_directory(config: ExportConfig) -> Path:
    export(config)
    return config.bundle


def test_attention_of_every_block_is_fused(bundle_directory: Path) -> None:
    manifest = read_bundle(bundle_directory).manifest
    assert manifest.graphs["fp32"].fused_attentions == 2
    assert manifest.padding == "any"


def test_parity_covers_every_length_within_the_tolerance(
    bundle_directory: Path,
) -> None:
    parity = read_bundle(bundle_directory).manifest.parity
    assert parity.lengths == LENGTHS == (3, 4, 17, 128, 512)
    assert max(parity.max_logit_difference, parity.max_gate_difference) <= 1e-5


class _OneSegment(GraphRuntime):
    """A graph that takes every token for one of the first text."""

    def run_batch(
        self, inputs: Mapping[str, NDArray[np.int64]], keep: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        segments = np.zeros_like(inputs["token_type_ids"])
        return super().run_batch({**inputs, "token_type_ids": segments}, keep)


def test_graph_that_overlooks_segments_is_refused(
    bundle_directory: Path, config: ExportConfig
) -> None:
    bundle = read_bundle(bundle_directory)
    classifier = load_classifier(config.checkpoint)
    module = build_module(
        classifier, {k: load_probe(config.probes, k) for k in ("input", "hidden")}
    )
    runtime = _OneSegment(
        bundle.graph("fp32"), states=bundle.manifest.states, threshold=0.5
    )
    with pytest.raises(ParityError, match="the graph and PyTorch differ by"):
        check_parity(
            in_float64(module),
            runtime,
            vocabulary_size=len(classifier.tokenizer),
            max_tokens=17,
            pad_id=classifier.tokenizer.pad_token_id,
        )


def test_parity_is_that_with_a_copy_in_float64(config: ExportConfig) -> None:
    classifier = load_classifier(config.checkpoint)
    module = build_module(
        classifier, {k: load_probe(config.probes, k) for k in ("input", "hidden")}
    )
    exact = in_float64(module)
    assert {value.dtype for value in exact.parameters()} == {torch.float64}
    assert {value.dtype for value in module.parameters()} == {torch.float32}


def test_no_graph_tells_where_it_was_made(bundle_directory: Path) -> None:
    here = str(Path(__file__).parents[3]).encode()
    for graph in bundle_directory.glob("*.onnx"):
        assert here not in graph.read_bytes()
        assert b"stack_trace" not in graph.read_bytes()


def test_service_gives_what_pytorch_gives(
    bundle_directory: Path, config: ExportConfig
) -> None:
    classifier = load_classifier(config.checkpoint)
    module = build_module(
        classifier, {k: load_probe(config.probes, k) for k in ("input", "hidden")}
    )
    texts = ["good film .", "the plot is dull and it was awful", "unknownword"]
    engine = open_engine(bundle_directory)
    try:
        inputs = [TextInput(text=text) for text in texts]
        reply = asyncio.run(engine.explain(inputs, ExplainOptions()))
    finally:
        engine.close()
    for text, explanation in zip(texts, reply.explanations, strict=True):
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


async def test_an_8_bit_answer_is_the_same_alone_and_with_hostile_mates(
    bundle_directory: Path,
) -> None:
    texts = ("good film .", "the plot is dull and it was awful", "bad film .")
    # Words that the model never learnt to read scale activations as they like.
    hostile = ("zzz " * 40, "good " * 100, "awful film .")
    engine = open_engine(bundle_directory, precision="int8")

    async def answers(*asked: str) -> dict[str, bytes]:
        inputs = [TextInput(text=text) for text in asked]
        reply = await engine.explain(inputs, ExplainOptions())
        return {
            text: b"".join(
                part.tobytes()
                for part in (
                    labelled(each.prediction).logits,
                    each.input_gates,
                    each.hidden_gates,
                )
                if part is not None
            )
            for text, each in zip(asked, reply.explanations, strict=True)
        }

    try:
        alone = {text: (await answers(text))[text] for text in texts}
        together = await answers(*texts, *hostile)
        reordered = await answers(*hostile, *texts[::-1])
        at_once = await asyncio.gather(*(answers(each) for each in (*hostile, *texts)))
    finally:
        engine.close()
    for text in texts:
        assert together[text] == reordered[text] == alone[text]
        assert at_once[len(hostile) + texts.index(text)][text] == alone[text]


def test_the_8_bit_graph_answers_differently_in_one_run_with_others(
    bundle_directory: Path,
) -> None:
    # What the test above would not see if the engine let texts share a run.
    bundle = read_bundle(bundle_directory)
    session = Session(
        bundle.graph("int8"), inputs=bundle.manifest.inputs, name="int8", device="cpu"
    )
    rows = [
        Row(input_ids=np.arange(9) + start, token_type_ids=np.zeros(9, dtype=np.int64))
        for start in (5, 12)
    ]
    alone = session.run(rows[:1], fetches=("logits",)).logits[0]
    together = session.run(rows, fetches=("logits",)).logits[0]
    assert (alone != together).any()


def test_a_forced_graph_says_whether_it_strays(
    config: ExportConfig, tmp_path: Path
) -> None:
    wanted = dataclasses.replace(
        config, precisions=("int8",), default_graph="int8", bundle=tmp_path / "b"
    )
    bundle = export(wanted)
    graph = bundle.manifest.graphs["int8"]
    assert graph.fidelity is not None
    assert graph.forced is not is_faithful(graph.fidelity)
    assert bundle.selftest.tolerance == 0.5


def test_verify_passes_on_what_it_was_made_from(
    bundle_directory: Path, config: ExportConfig
) -> None:
    settings = VerifyConfig(
        checkpoint=config.checkpoint, probes=config.probes, bundle=bundle_directory
    )
    lines = list(verify_bundle(settings))
    assert sum("derived again" in line for line in lines) == 3


def test_verify_refuses_another_classifier(
    bundle_directory: Path, config: ExportConfig, tmp_path: Path
) -> None:
    other = write_checkpoint(tmp_path / "other", seed=5)
    settings = VerifyConfig(
        checkpoint=other, probes=config.probes, bundle=bundle_directory
    )
    with pytest.raises(CheckpointError, match="was fitted on a classifier with"):
        list(verify_bundle(settings))
    # Records of earlier releases do not say which classifier it was.
    probes = Path(shutil.copytree(config.probes, tmp_path / "probes"))
    for path in probes.rglob("probe.json"):
        described = json.loads(path.read_text())
        described["record"]["classifier"] = ""
        path.write_text(json.dumps(described))
    settings = dataclasses.replace(settings, probes=probes)
    with pytest.raises(ParityError, match="not what it was made from"):
        list(verify_bundle(settings))


def test_verify_refuses_probes_of_another_depth(
    bundle_directory: Path, config: ExportConfig, tmp_path: Path
) -> None:
    other = write_checkpoint(tmp_path / "deeper", num_layers=3)
    settings = VerifyConfig(
        checkpoint=other, probes=config.probes, bundle=bundle_directory
    )
    with pytest.raises(CheckpointError, match="input probe was fitted on states of"):
        list(verify_bundle(settings))


def test_evaluation_of_the_bundle_reproduces_the_manifest(
    bundle_directory: Path, config: ExportConfig, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    status = main(
        [
            "evaluate",
            *("--bundle", str(bundle_directory), "--report", str(report)),
            *("--data", str(config.data), "--train", "texts.jsonl"),
        ]
    )
    figures = json.loads(report.read_text())["figures"]["input"]
    manifest = read_bundle(bundle_directory).manifest
    graph = manifest.graphs[manifest.default_graph]
    assert status == 0
    assert figures["accuracy"] == graph.accuracy
    for found, stated in zip(figures["states"], graph.input_masks, strict=True):
        assert found["kept_share"] == stated.kept_share
        assert found["agreement"] == stated.agreement


def test_evaluation_of_the_probes_reproduces_the_manifest(
    bundle_directory: Path, fitted: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    main(["evaluate", "--texts", "0", "--report", str(report), *_flags(fitted)])
    figures = json.loads(report.read_text())["figures"]
    manifest = read_bundle(bundle_directory).manifest
    for kind in ("input", "hidden"):
        stated = manifest.probes[kind].states
        for found, state in zip(figures[kind]["states"], stated, strict=True):
            assert found["kept_share"] == state.kept_share
            assert found["macro_f1"] == state.macro_f1


def test_reduced_graph_is_described_against_the_plain_one(
    bundle_directory: Path,
) -> None:
    graphs = read_bundle(bundle_directory).manifest.graphs
    assert graphs["fp32"].fidelity is None
    fidelity = graphs["w8"].fidelity
    assert fidelity is not None
    assert fidelity.num_texts == 12
    assert fidelity.max_gate_difference < 0.2


def test_card_prints_the_figures_of_the_manifest(bundle_directory: Path) -> None:
    bundle = read_bundle(bundle_directory)
    card = bundle.files["README.md"].decode()
    report = bundle.manifest.probes["input"]
    assert f"| input tokens masked | {report.masked_share:.1%} |" in card
    assert f"| predictions kept | {report.agreement:.1%} |" in card
    assert "block_2" in card
    assert "\n\n\n" not in card


def test_unsound_probe_is_refused_and_nothing_is_written(
    config: ExportConfig, tmp_path: Path
) -> None:
    for kind in ("input", "hidden"):
        source = config.probes / kind
        target = tmp_path / "probes" / kind
        target.mkdir(parents=True)
        for name in ("probe.json", "probe.safetensors"):
            (target / name).write_bytes((source / name).read_bytes())
        described = json.loads((target / "probe.json").read_text())
        described["record"]["is_feasible"] = False
        (target / "probe.json").write_text(json.dumps(described))
    unsound = dataclasses.replace(
        config, probes=tmp_path / "probes", bundle=tmp_path / "bundle"
    )
    with pytest.raises(InfeasibleError, match="input probe is not feasible"):
        export(dataclasses.replace(unsound, force=False))
    assert not unsound.bundle.exists()
    forced = export(unsound)
    assert forced.manifest.probes["hidden"].forced
    assert "exported on demand" in forced.files["README.md"].decode()


def test_directory_that_is_no_bundle_is_not_replaced(
    config: ExportConfig, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep me")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        export(dataclasses.replace(config, bundle=tmp_path / "precious"))
    assert (tmp_path / "precious" / "file").read_text() == "keep me"


def test_provenance_names_no_path_of_the_machine(
    bundle_directory: Path, fitted: Path
) -> None:
    for name in ("manifest.json", "README.md"):
        assert str(fitted) not in (bundle_directory / name).read_text()
