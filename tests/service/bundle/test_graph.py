from collections.abc import Callable

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from diffmask_service.bundle import check_graph, cut_graph
from diffmask_service.errors import GraphError
from tests.support.tiny import INPUTS, tiny_manifest, tiny_model, tiny_span_model


def check(model: ModelProto) -> ModelProto:
    return check_graph(model.SerializeToString(), tiny_manifest(), "model.onnx")


def test_the_graph_described_passes() -> None:
    assert check(tiny_model()).graph.name == "tiny"


def test_a_graph_of_another_task_is_refused() -> None:
    spans = tiny_manifest(task="question_answering", labels=(), takes_pairs=True)
    words = tiny_manifest(task="token_classification")
    check_graph(tiny_span_model().SerializeToString(), spans, "model.onnx")
    labels = tiny_model().SerializeToString()
    with pytest.raises(GraphError, match="the manifest asks for end_logits"):
        check_graph(labels, spans, "model.onnx")
    with pytest.raises(GraphError, match=r"expected \['batch', 'tokens', 2\]"):
        check_graph(labels, words, "model.onnx")


def test_what_is_not_onnx_is_refused() -> None:
    with pytest.raises(GraphError, match=r"model\.onnx: not an ONNX graph"):
        check_graph(b"\xff\xff", tiny_manifest(), "model.onnx")


def external(model: ModelProto) -> None:
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def external_by_location(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def external_in_an_attribute(model: ModelProto) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def external_in_a_list(model: ModelProto) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    attribute = onnx.AttributeProto(name="many", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(tensor)
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(attribute)
    model.graph.node.append(node)


def branch(domain: str) -> onnx.GraphProto:
    node = helper.make_node("Evil", [], ["x"], domain=domain)
    return helper.make_graph([node], "branch", [], [])


def foreign_in_a_branch(model: ModelProto) -> None:
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("evil"))
    model.graph.node.append(node)


def foreign_in_a_list_of_graphs(model: ModelProto) -> None:
    node = helper.make_node("Many", ["c"], ["y"], bodies=[branch("evil")])
    model.graph.node.append(node)


def foreign(model: ModelProto) -> None:
    model.graph.node[0].domain = "evil.example"


def local_function(model: ModelProto) -> None:
    function = helper.make_function("", "Mine", [], [], [], [])
    model.functions.append(function)


def sparse(model: ModelProto) -> None:
    model.graph.sparse_initializer.add()


def output_missing(model: ModelProto) -> None:
    del model.graph.output[2]


def output_of_other_size(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def output_of_other_rank(model: ModelProto) -> None:
    del model.graph.output[1].type.tensor_type.shape.dim[2]


def output_of_fixed_length(model: ModelProto) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_value = 7


def output_of_other_type(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def input_missing(model: ModelProto) -> None:
    del model.graph.input[3]


def input_of_other_type(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (external, "'weights' lies in another file"),
        (external_by_location, "lies in another file"),
        (external_in_an_attribute, "'hidden' lies in another file"),
        (external_in_a_list, "'hidden' lies in another file"),
        (foreign, r"'Gather' of domain 'evil\.example' is not allowed"),
        (foreign_in_a_branch, "'Evil' of domain 'evil'"),
        (foreign_in_a_list_of_graphs, "'Evil' of domain 'evil'"),
        (local_function, "local functions"),
        (sparse, "sparse tensors"),
        (output_missing, "outputs are input_gates, logits; the manifest asks for"),
        (output_of_other_size, "output 'logits' has shape"),
        (output_of_other_rank, "output 'input_gates' has shape"),
        (output_of_fixed_length, "output 'input_gates' has shape"),
        (output_of_other_type, "output 'logits' is not float32"),
        (input_missing, "inputs are attention_mask, input_ids, token_type_ids; the"),
        (input_of_other_type, "input 'input_ids' has another element type"),
    ],
)
def test_another_graph_is_refused(
    spoil: Callable[[ModelProto], None], message: str
) -> None:
    model = tiny_model()
    spoil(model)
    with pytest.raises(GraphError, match=message):
        check(model)


def test_a_size_left_open_by_the_graph_is_accepted() -> None:
    model = tiny_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "labels"
    check(model)


def test_an_input_that_nobody_feeds_is_refused() -> None:
    manifest = tiny_manifest(inputs=(*INPUTS, "position_ids"))
    content = tiny_model().SerializeToString()
    with pytest.raises(GraphError, match="'position_ids' is not one the service feeds"):
        check_graph(content, manifest, "model.onnx")


def test_cut_graph_computes_the_logits_and_nothing_else() -> None:
    whole = tiny_model()
    cut = onnx.load_model_from_string(cut_graph(whole.SerializeToString(), ("logits",)))
    assert [value.name for value in cut.graph.output] == ["logits"]
    assert [value.name for value in cut.graph.input] == [
        value.name for value in whole.graph.input
    ]
    read = {name for node in cut.graph.node for name in node.input} | {"logits"}
    assert all(read.intersection(node.output) for node in cut.graph.node)
    assert len(cut.graph.node) < len(whole.graph.node)
