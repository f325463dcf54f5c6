"""What Triton would load: Triton is not here, its configuration's messages are."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx.helper import tensor_dtype_to_np_dtype
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from diffmask_service.bundle import Bundle, Graph, Precision, read_bundle
from diffmask_training.cli import main
from diffmask_training.config import ExportConfig
from diffmask_training.errors import ConfigError, ExportError
from diffmask_training.export.triton import write_configuration, write_triton_model
from tests.support.tiny import (
    tiny_input_gates,
    tiny_logits,
    write_tiny_bundle,
    write_tiny_span_bundle,
)

SHIPPED = Path(__file__).parents[3] / "bundles" / "sst2-minilm"


def configuration_of(model: Path) -> Any:
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def graph_of(model: Path) -> Path:
    # Where Triton looks: the file of this name, under a number.
    (graph,) = model.glob("[0-9]*/model.onnx")
    return graph


def code_of(model: Path) -> list[str]:
    guide = (model / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)


@pytest.fixture(params=["classes", "spans", "shipped"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    match request.param:
        case "classes":
            return write_tiny_bundle(tmp_path / "bundle")
        case "spans":
            return write_tiny_span_bundle(tmp_path / "tiny")
        case _:
            return read_bundle(SHIPPED)


@pytest.fixture
def model(bundle: Bundle, tmp_path: Path) -> Path:
    return write_triton_model(tmp_path / "repository", bundle)


def test_the_layout_is_that_of_a_repository(bundle: Bundle, model: Path) -> None:
    manifest = bundle.manifest
    assert model.name == manifest.id == configuration_of(model).name
    assert graph_of(model).parent.name == manifest.version
    assert [path.name for path in model.parent.iterdir()] == [manifest.id]
    assert (model / "tokenizer.json").read_bytes() == bundle.files["tokenizer.json"]


def test_tensors_of_the_configuration_are_those_of_the_graph(model: Path) -> None:
    configuration = configuration_of(model)
    session = onnxruntime.InferenceSession(graph_of(model))
    types = {"tensor(int64)": "INT64", "tensor(float)": "FP32"}
    for tensors, found in (
        (configuration.input, session.get_inputs()),
        (configuration.output, session.get_outputs()),
    ):
        expected = {
            value.name: (
                types[value.type],
                [size if isinstance(size, int) else -1 for size in value.shape[1:]],
            )
            for value in found
        }
        assert {
            tensor.name: (
                model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_"),
                list(tensor.dims),
            )
            for tensor in tensors
        } == expected
        # The first dimension, which Triton leaves out, takes any size.
        assert not any(isinstance(value.shape[0], int) for value in found)


def test_types_are_those_that_clients_send(model: Path) -> None:
    graph = onnx.load(graph_of(model)).graph
    for tensor, value in zip(configuration_of(model).input, graph.input, strict=True):
        name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        sent = tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        assert triton_to_np_dtype(name) == sent


def test_requests_are_batched_by_the_backend_of_the_graph(model: Path) -> None:
    configuration = configuration_of(model)
    assert configuration.backend == "onnxruntime"
    assert configuration.max_batch_size == 32
    assert configuration.HasField("dynamic_batching")


def test_labels_stand_beside_the_output_that_they_name(
    bundle: Bundle, model: Path
) -> None:
    named = {
        output.name: output.label_filename
        for output in configuration_of(model).output
        if output.label_filename
    }
    if bundle.manifest.task == "question_answering":
        assert not named
        return
    assert named == {"logits": "labels.txt"}
    lines = (model / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert tuple(lines) == bundle.manifest.labels


def test_parameters_say_where_it_comes_from(bundle: Bundle, model: Path) -> None:
    parameters = configuration_of(model).parameters
    assert parameters["diffmask_digest"].string_value == bundle.digest
    for state in bundle.manifest.states:
        assert f'"{state}"' in parameters["diffmask_states"].string_value


def test_the_guide_s_code_gives_the_closed_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_triton_model(tmp_path, write_tiny_bundle(tmp_path / "bundle"))
    monkeypatch.chdir(model)
    tokenising, calling = code_of(model)
    assert 'encode("A text.")' in tokenising
    made: dict[str, Any] = {}
    exec(tokenising.replace("A text.", "a funny movie"), made)
    tokens = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
    assert tuple(made["encoding"].tokens) == tokens
    session = onnxruntime.InferenceSession(graph_of(model))
    # As Triton would join two requests.
    joined = {name: np.concatenate([one, one]) for name, one in made["arrays"].items()}
    logits, gates = session.run(["logits", "input_gates"], joined)
    assert logits.tolist() == [tiny_logits(tokens).tolist()] * 2
    assert gates.tolist() == [tiny_input_gates(tokens).tolist()] * 2
    compile(calling, "README.md", "exec")


def test_the_shipped_graph_gives_what_its_self_test_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(SHIPPED)
    model = write_triton_model(tmp_path, bundle)
    session = onnxruntime.InferenceSession(graph_of(model))
    code = code_of(model)[0]
    monkeypatch.chdir(model)
    for case in bundle.selftest.cases:
        made: dict[str, Any] = {"text": case.text}
        exec(code.replace('"A text."', "text"), made)
        assert tuple(made["encoding"].ids) == case.input_ids
        logits, gates = session.run(["logits", "hidden_gates"], made["arrays"])
        tolerance = bundle.selftest.tolerance
        np.testing.assert_allclose(logits[0], case.logits, atol=tolerance)
        np.testing.assert_allclose(gates[0], case.hidden_gates, atol=tolerance)


def test_the_guide_of_a_model_of_pairs_asks_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_tiny_span_bundle(tmp_path / "bundle")
    model = write_triton_model(tmp_path, bundle)
    monkeypatch.chdir(model)
    made: dict[str, Any] = {}
    exec(code_of(model)[0], made)
    assert set(made["encoding"].sequence_ids) == {None, 0, 1}
    outputs = onnxruntime.InferenceSession(graph_of(model)).run(None, made["arrays"])
    assert len(outputs) == 4


def test_texts_of_an_8_bit_graph_stay_alone(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    graphs: dict[Precision, Graph] = {"int8": bundle.manifest.graphs["fp32"]}
    manifest = replace(bundle.manifest, graphs=graphs, default_graph="int8")
    of_8_bits = replace(bundle, manifest=manifest)
    graph = onnx.load_from_string(bundle.graph("fp32"))
    text = write_configuration(graph, of_8_bits)
    parsed: Any = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert parsed.max_batch_size == 1
    assert not parsed.HasField("dynamic_batching")


def test_awkward_names_survive(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", labels=('a "b" \\', "ünï\tcode"))
    model = write_triton_model(tmp_path, bundle)
    assert configuration_of(model).name == bundle.manifest.id
    assert (model / "labels.txt").read_text() == 'a "b" \\\nünï\tcode\n'


def test_writing_again_replaces_the_model_and_leaves_others(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    repository = tmp_path / "repository"
    other = repository / "other" / "config.pbtxt"
    other.parent.mkdir(parents=True)
    other.write_text('name: "other"')
    model = write_triton_model(repository, bundle)
    (model / "stale").touch()
    assert write_triton_model(repository, bundle) == model
    assert not (model / "stale").exists()
    assert sorted(path.name for path in repository.iterdir()) == ["other", model.name]
    assert other.read_text() == 'name: "other"'


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (tmp_path / bundle.manifest.id).mkdir()
    with pytest.raises(ExportError, match="exists and is no model of Triton's"):
        write_triton_model(tmp_path, bundle)


def test_another_version_is_not_lost(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    model = write_triton_model(tmp_path, bundle)
    later = replace(bundle, manifest=replace(bundle.manifest, version="4"))
    with pytest.raises(ExportError, match="holds '3' beside version 4"):
        write_triton_model(tmp_path, later)
    assert graph_of(model).parent.name == "3"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    model = write_triton_model(tmp_path, bundle)
    # A name that no file system takes.
    broken = replace(bundle, manifest=replace(bundle.manifest, version="3" * 300))
    shutil.rmtree(model / "3")
    with pytest.raises(ExportError, match="cannot be written"):
        write_triton_model(tmp_path, broken)
    assert (model / "config.pbtxt").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", model.name]


def test_command_takes_a_bundle_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    flags = ["--bundle", str(tmp_path / "bundle"), "--triton", str(tmp_path / "triton")]
    assert main(["export", "--reuse", *flags]) == 0
    assert configuration_of(tmp_path / "triton" / bundle.manifest.id).max_batch_size
    assert "for Triton" in capsys.readouterr().out


def test_command_refuses_a_place_before_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    # There is no checkpoint, which would be told later.
    assert main(["export", "--checkpoint", "none", "--triton", str(tmp_path)]) == 2
    assert "no model of Triton's" in capsys.readouterr().err


def test_reusing_a_bundle_for_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="name a repository with --triton"):
        ExportConfig(reuse=True)
