"""Graphs that reach outside, or ask for too much."""

from pathlib import Path

from onnx import TensorProto, helper

from diffmask_service.errors import GraphError, SelfTestError
from tests.support import malice
from tests.support.malice import GRAPH
from tests.support.refusal import Case, check_refusal, parametrise
from tests.support.tiny import tiny_files

OUTSIDE = "lies in another file"
CASES = (
    Case(
        "no graph", malice.content(GRAPH, b"\xff\xff"), GraphError, "not an ONNX graph"
    ),
    Case(
        "graphs in graphs",
        malice.content(GRAPH, malice.nested_graphs(50)),
        GraphError,
        "not an ONNX graph",
    ),
    Case(
        "external by path",
        malice.graph(lambda m: m.graph.initializer.append(malice.external_tensor())),
        GraphError,
        OUTSIDE,
    ),
    Case(
        "external by flag",
        malice.tensor("weights", data_location=TensorProto.EXTERNAL),
        GraphError,
        OUTSIDE,
    ),
    Case(
        "external in a constant",
        malice.graph(
            lambda m: m.graph.node.append(
                helper.make_node("Constant", [], ["c"], value=malice.external_tensor())
            )
        ),
        GraphError,
        OUTSIDE,
    ),
    *(
        Case(
            f"external in {attribute} of {name}",
            malice.control_flow(
                name, attribute, malice.body(tensor=malice.external_tensor())
            ),
            GraphError,
            OUTSIDE,
        )
        for name, attribute in (
            ("If", "then_branch"),
            ("If", "else_branch"),
            ("Scan", "body"),
        )
    ),
    *(
        Case(
            f"foreign in {attribute} of {name}",
            malice.control_flow(name, attribute, malice.body(domain="evil")),
            GraphError,
            "'Evil' of domain 'evil'",
        )
        for name, attribute in (
            ("If", "then_branch"),
            ("Scan", "body"),
        )
    ),
    Case(
        "endless",
        malice.control_flow("Loop", "body", malice.body()),
        GraphError,
        "'Loop' is not allowed",
    ),
    Case(
        "foreign operator",
        malice.graph(lambda m: setattr(m.graph.node[0], "domain", "evil.example")),
        GraphError,
        r"'Gather' of domain 'evil\.example'",
    ),
    Case(
        "foreign operator set",
        malice.graph(lambda m: m.opset_import.append(helper.make_opsetid("evil", 1))),
        GraphError,
        "the operator set of domain 'evil'",
    ),
    Case(
        "function", malice.graph(malice.foreign_function), GraphError, "local functions"
    ),
    Case("training", malice.graph(malice.training), GraphError, "for training"),
    *(
        Case(name, malice.operator(name), GraphError, f"{name!r} is not allowed")
        for name in ("PythonOp", "ATen", "ImageDecoder")
    ),
    Case(
        "context of a provider",
        malice.operator("EPContext", ep_cache_context="/etc/passwd", embed_mode=0),
        GraphError,
        "'EPContext' is not allowed",
    ),
    Case(
        "sparse",
        malice.graph(lambda m: m.graph.sparse_initializer.add()),
        GraphError,
        "sparse tensors",
    ),
    Case(
        "sparse attribute",
        malice.graph(malice.sparse_attribute),
        GraphError,
        "sparse tensors",
    ),
    Case(
        "absurd dimension",
        malice.tensor("weights", dims=[1 << 40]),
        GraphError,
        r"'weights' has shape \[1099511627776\]",
    ),
    Case(
        "product over any number",
        malice.tensor("weights", dims=[1 << 31, 1 << 31, 4]),
        GraphError,
        "'weights' has shape",
    ),
    Case(
        "negative dimension",
        malice.tensor("weights", dims=[-13]),
        GraphError,
        r"'weights' has shape \[-13\]",
    ),
    Case(
        "less data than its shape",
        malice.tensor("weights", dims=[1000]),
        GraphError,
        r"'weights' does not hold the data of its shape \[1000\]",
    ),
    Case(
        "data twice",
        malice.tensor("weights", float_data=[0.0] * 13),
        GraphError,
        "'weights' does not hold the data",
    ),
    Case(
        "strings",
        malice.tensor("weights", data_type=TensorProto.STRING),
        GraphError,
        "'weights' has element type 8",
    ),
    Case(
        "made of nothing",
        malice.graph(malice.made_tensor([1 << 20, 1 << 20])),
        GraphError,
        "'ConstantOfShape' makes a tensor",
    ),
    Case(
        "output of absurd size",
        malice.graph(
            lambda m: m.graph.value_info.append(
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 << 62])
            )
        ),
        GraphError,
        "4611686018427387904 for a dimension",
    ),
    Case(
        "name twice",
        malice.graph(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        GraphError,
        "'weights' is defined twice",
    ),
    Case(
        "input with a value",
        malice.graph(
            lambda m: m.graph.initializer.append(
                helper.make_tensor("keep", TensorProto.FLOAT, [1], [0.0])
            )
        ),
        GraphError,
        "'keep' is defined twice",
    ),
    Case(
        "metadata",
        malice.graph(lambda m: m.metadata_props.add(key="k", value="v" * (9 << 20))),
        GraphError,
        "bytes of metadata",
    ),
    Case(
        "settings of the runtime",
        malice.graph(lambda m: m.metadata_props.add(key="ort_config", value="{}")),
        GraphError,
        "settings of the runtime",
    ),
    Case(
        "unknown field",
        malice.content(GRAPH, tiny_files()[GRAPH] + b"\xa2\x1f\x01x"),
        GraphError,
        "fields that this release does not know, in a ModelProto",
    ),
    Case(
        "weights that are no numbers",
        malice.tensor("weights", raw_data=b"\xff" * 52),
        SelfTestError,
        "not finite",
    ),
    Case(
        "operator that does not exist",
        malice.graph(lambda m: setattr(m.graph.node[0], "op_type", "Nothing")),
        GraphError,
        "ONNX Runtime .* cannot load it",
    ),
)


@parametrise(CASES)
async def test_the_bundle_is_refused_and_the_good_one_answers(
    tmp_path: Path, case: Case
) -> None:
    await check_refusal(tmp_path, case)
