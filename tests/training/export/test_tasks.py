"""Each task from its model and its data to a reply over a real socket."""

import asyncio
import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffmask_service.app import open_engine
from diffmask_service.bundle import Manifest, TaskName, read_bundle
from diffmask_service.client import AsyncClient
from diffmask_service.core.predictions import (
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.core.values import Reply, TextInput
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import GrpcSettings, bind, build_server
from diffmask_training.batches import collate
from diffmask_training.checkpoint import load_probe
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.cli import main
from diffmask_training.config import ExportConfig, VerifyConfig
from diffmask_training.encoding import encode
from diffmask_training.export.graph import FusedModule
from diffmask_training.export.rederive import verify_bundle
from diffmask_training.export.write import build_module, export
from diffmask_training.probes import ProbeKind
from diffmask_training.records import Record
from tests.support.checkpoint import LABELS_BY_TASK, write_checkpoint, write_texts

CASES: tuple[tuple[TaskName, str], ...] = (
    ("multi_label_classification", "bert"),
    ("multi_label_classification", "distilbert"),
    ("regression", "bert"),
    ("regression", "roberta"),
    ("token_classification", "bert"),
    ("token_classification", "distilbert"),
    ("token_classification", "roberta"),
    ("question_answering", "bert"),
    ("question_answering", "distilbert"),
    ("question_answering", "roberta"),
)
CONTEXT = "the film was good, very good and filmly ."
TEXT = "the plot was dull, filmly dull ."


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle and what it was made from."""

    task: TaskName
    config: ExportConfig
    flags: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        return read_bundle(self.config.bundle).manifest

    @property
    def input(self) -> TextInput:
        if self.task == "question_answering":
            return TextInput(text="what was it", text_pair=CONTEXT)
        return TextInput(text=TEXT)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """Fitted by the command, and exported."""
    task, family = request.param
    root = tmp_path_factory.mktemp(f"{task}-{family}")
    write_checkpoint(root / "checkpoint", family=family, task=task)
    write_texts(root / "texts.jsonl", task=task, num_texts=40)
    pair = ("--pair-column", "context") if task == "question_answering" else ()
    data = ("--data", str(root), "--train", "texts.jsonl", *pair)
    for kind in ("input", "hidden"):
        main(
            [
                *("fit", "--kind", kind, "--epochs", "1", "--epoch-steps", "0", *data),
                *("--checkpoint", str(root / "checkpoint")),
                *("--probes", str(root / "probes")),
            ]
        )
    config = ExportConfig(
        data=root,
        train=Path("texts.jsonl"),
        pair_column="context" if pair else "",
        checkpoint=root / "checkpoint",
        probes=root / "probes",
        bundle=root / "bundle",
        id="tiny",
        precisions=("fp32", "w8"),
        max_answer_tokens=3,
        force=True,
    )
    export(config)
    return Case(task=task, config=config, flags=data)


def _module(case: Case) -> tuple[Classifier, FusedModule]:
    classifier = load_classifier(case.config.checkpoint)
    probes = {k: load_probe(case.config.probes, k) for k in get_args(ProbeKind)}
    classifier.encoder.task = classifier.encoder.task.with_value(
        probes["input"].record.value
    )
    return classifier, build_module(classifier, probes)


@torch.no_grad()
def _in_pytorch(
    case: Case, keep: NDArray[np.float32] | None = None
) -> list[NDArray[np.float32]]:
    # Outputs of the module for the case's input, without the batch axis.
    classifier, module = _module(case)
    text = case.input
    tokens = classifier.tokenizer(
        text.text,
        text.text_pair,
        return_tensors="pt",
        return_token_type_ids=True,
    )
    inputs = {name: tokens[name] for name in classifier.encoder.inputs}
    mask = torch.ones(tokens["input_ids"].shape)
    if keep is not None:
        mask = torch.from_numpy(keep[None])
    return [output[0].numpy() for output in module(inputs, mask)]


async def _served(case: Case, **keywords: Any) -> Reply:
    telemetry = Telemetry()
    engine = open_engine(case.config.bundle, telemetry=telemetry)
    settings = GrpcSettings(
        host="127.0.0.1", port=0, max_message_bytes=2**20, has_reflection=False
    )
    health = HealthServicer({"tiny"})
    engine.on_readiness(health.set_ready)
    server = build_server(
        Repository([engine]),
        health,
        telemetry=telemetry,
        settings=settings,
        stopping=asyncio.Event(),
    )
    port = bind(server, settings)
    await server.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            assert (await client.get_model()).task == case.task
            return await client.explain(case.input, **keywords)
    finally:
        await server.stop(None)
        engine.close()


def test_manifest_names_the_task_and_how_it_is_read(case: Case) -> None:
    manifest = case.manifest
    assert manifest.task == case.task
    assert manifest.labels == LABELS_BY_TASK[case.task]
    assert (manifest.value is not None) is (case.task == "regression")
    assert manifest.takes_pairs is (case.task == "question_answering")
    assert manifest.max_answer_tokens == 3


def test_graph_agrees_with_pytorch_and_is_fused(case: Case) -> None:
    manifest = case.manifest
    assert manifest.padding == "any"
    assert manifest.graphs["fp32"].fused_attentions == 2
    parity = manifest.parity
    assert max(parity.max_logit_difference, parity.max_gate_difference) <= 1e-5


def test_every_figure_of_the_task_is_in_the_manifest(case: Case) -> None:
    names: Mapping[TaskName, set[str]] = {
        "multi_label_classification": set(),
        "regression": {"mean_absolute_change", "mean_absolute_error"},
        "token_classification": {"whole_text_agreement"},
        "question_answering": {"span_f1", "f1"},
    }
    manifest = case.manifest
    for probe in manifest.probes.values():
        for state in probe.states:
            assert set(state.scores) == names[case.task]
            assert 0 <= state.agreement <= 1
            assert (state.accuracy is None) is (case.task == "regression")
    fidelity = manifest.graphs["w8"].fidelity
    assert fidelity is not None
    assert fidelity.label_agreement > 0.5
    card = (case.config.bundle / "README.md").read_text(encoding="utf-8")
    for name in names[case.task]:
        assert name.replace("_", " ") in card


async def test_served_prediction_and_gates_are_pytorch_s(case: Case) -> None:
    explanation = (await _served(case)).explanations[0]
    *logits, input_gates, hidden_gates = _in_pytorch(case)
    tokenizer = load_classifier(case.config.checkpoint).tokenizer
    _CHECKS[case.task](explanation.prediction, logits, tokenizer)
    for found, expected in (
        (explanation.input_gates, input_gates),
        (explanation.hidden_gates, hidden_gates),
    ):
        assert found is not None
        assert np.abs(found - expected).max() <= 1e-5


def _check_label_set(
    prediction: Prediction, logits: list[NDArray[np.float32]], _: Any
) -> None:
    assert isinstance(prediction, LabelSetPrediction)
    chances = 1 / (1 + np.exp(-logits[0]))
    assert prediction.probabilities == pytest.approx(chances, abs=1e-5)
    expected = tuple(i for i, chance in enumerate(chances) if chance >= 0.5)
    assert prediction.label_indices == expected


def _check_value(
    prediction: Prediction, logits: list[NDArray[np.float32]], _: Any
) -> None:
    assert isinstance(prediction, ValuePrediction)
    assert prediction.value == pytest.approx(float(logits[0][0]), abs=1e-5)


def _check_tags(
    prediction: Prediction, logits: list[NDArray[np.float32]], tokenizer: Any
) -> None:
    assert isinstance(prediction, TagsPrediction)
    words = TEXT.replace(",", " ,").split()
    assert prediction.words.texts == tuple(words)
    places = tokenizer(TEXT).word_ids()
    first = [places.index(word) for word in range(len(words))]
    names = LABELS_BY_TASK["token_classification"]
    expected = tuple(names[index] for index in logits[0][first].argmax(axis=-1))
    assert prediction.labels == expected
    for start, end, word in zip(
        prediction.words.starts, prediction.words.ends, words, strict=True
    ):
        assert TEXT[start:end] == word


def _check_span(
    prediction: Prediction, logits: list[NDArray[np.float32]], tokenizer: Any
) -> None:
    assert isinstance(prediction, SpanPrediction)
    tokens = tokenizer("what was it", CONTEXT, return_offsets_mapping=True)
    context = [i for i, part in enumerate(tokens.sequence_ids()) if part == 1]
    spans = [
        (float(logits[0][first] + logits[1][last]), first, last)
        for first, last in itertools.combinations_with_replacement(context, 2)
        if last - first < 3
    ]
    _, first, last = max(spans)
    offsets = tokens["offset_mapping"]
    assert (prediction.start, prediction.end) == (offsets[first][0], offsets[last][1])
    assert CONTEXT[prediction.start : prediction.end] == prediction.text
    chances = [np.exp(side) / np.exp(side).sum() for side in logits]
    expected = float(chances[0][first] * chances[1][last])
    assert prediction.probability == pytest.approx(expected, abs=1e-5)


_CHECKS: Mapping[str, Callable[[Prediction, list[NDArray[np.float32]], Any], None]] = {
    "multi_label_classification": _check_label_set,
    "regression": _check_value,
    "token_classification": _check_tags,
    "question_answering": _check_span,
}


async def test_verification_is_what_pytorch_says_of_the_kept_tokens(case: Case) -> None:
    explanation = (await _served(case, verify=True)).explanations[0]
    (verification,) = explanation.verifications
    assert explanation.scores is not None
    keep = (explanation.scores >= 0.5).astype(np.float32)
    plain, masked = _in_pytorch(case), _in_pytorch(case, keep)
    classifier = load_classifier(case.config.checkpoint)
    task = classifier.encoder.task.with_value(case.manifest.value)
    text = case.input
    record = Record(text=text.text, text_pair=text.text_pair)
    encoded = encode([record], classifier.tokenizer, 512, task=task)
    stacked = [torch.from_numpy(np.stack(run[:-2], axis=-1)) for run in (plain, masked)]
    if case.task != "question_answering":
        stacked = [each.squeeze(-1) for each in stacked]
    inputs = collate(encoded, pad_id=0).inputs
    expected = task.divergence(stacked[0][None], stacked[1][None], inputs)
    assert verification.kept_share == pytest.approx(float(keep.mean()))
    assert verification.divergence == pytest.approx(expected.item(), abs=1e-4)
    predicted = [task.predict(each.numpy(), encoded[0]) for each in stacked]
    assert verification.is_agreeing is (task.agreement(*predicted) == 1.0)
    assert type(verification.prediction) is type(explanation.prediction)
    assert not isinstance(verification.prediction, LabelPrediction)


def test_evaluation_of_the_bundle_reproduces_the_manifest(
    case: Case, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    arguments = ["--bundle", str(case.config.bundle), "--report", str(report)]
    assert main(["evaluate", *arguments, *case.flags]) == 0
    figures = json.loads(report.read_text())["figures"]["input"]
    graph = case.manifest.graphs["fp32"]
    assert figures["accuracy"] == graph.accuracy
    for found, stated in zip(figures["states"], graph.input_masks, strict=True):
        assert found["agreement"] == stated.agreement
        assert found["divergence"] == pytest.approx(stated.divergence)
        assert found["scores"] == pytest.approx(stated.scores)


@pytest.mark.parametrize("case", CASES[-3:-2], ids="-".join, indirect=True)
async def test_questions_may_have_no_answer(case: Case, tmp_path: Path) -> None:
    # One question in two has none.
    path = case.config.data / case.config.train
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{**row, "label": row["label"] * (i % 2)} for i, row in enumerate(rows)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for threshold, is_answered in ((-1000.0, False), (1000.0, True)):
        config = dataclasses.replace(
            case.config,
            data=tmp_path,
            bundle=tmp_path / str(threshold),
            precisions=("fp32",),
            no_answer_threshold=threshold,
        )
        export(config)
        changed = dataclasses.replace(case, config=config)
        assert changed.manifest.no_answer_threshold == threshold
        right = changed.manifest.scores["no_answer_accuracy"]
        assert right == (0.0 if is_answered else 1.0)
        for state in changed.manifest.probes["input"].states:
            assert state.scores["has_answer_agreement"] == 1.0
        prediction = (await _served(changed)).explanations[0].prediction
        assert isinstance(prediction, SpanPrediction)
        assert prediction.no_answer is not is_answered
        assert bool(prediction.text) is is_answered
        assert main(["evaluate", "--bundle", str(config.bundle), *case.flags]) == 0


def test_verify_derives_the_same_graphs_again(case: Case) -> None:
    config = case.config
    lines = verify_bundle(
        VerifyConfig(
            checkpoint=config.checkpoint, probes=config.probes, bundle=config.bundle
        )
    )
    assert sum("derived again" in line for line in lines) == 2
