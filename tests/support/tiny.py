"""A bundle whose every logit and gate is known by arithmetic, exact in float32.

A token weighs `WEIGHT_BY_TOKEN`, twice that in the second text of a pair. The sum `s`
over the kept tokens gives the logits `[-s, s]`. A token's input gate is its entry in
`GATE_BY_TOKEN` times the decay of the state; its hidden gate is 1 minus that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from diffmask_service.bundle import (
    Bundle,
    Graph,
    Manifest,
    Parity,
    ProbeReport,
    Provenance,
    ReferenceDistribution,
    SelfTest,
    SelfTestCase,
    StateReport,
    write_bundle,
)

STATES = ("word_embeddings", "embeddings", "block_1")
LABELS = ("negative", "positive")
MAX_TOKENS = 12
DECAYS = (1.0, 0.75, 0.5)
WEIGHT_BY_TOKEN: Mapping[str, float] = {
    "[PAD]": 0.0,
    "[UNK]": 0.0,
    "[CLS]": 0.25,
    "[SEP]": 0.0,
    "[MASK]": 0.0,
    "good": 2.0,
    "bad": -2.0,
    "fun": 1.0,
    "##ny": 0.5,
    "dull": -1.0,
    "movie": 0.125,
    "a": 0.0,
    ",": 0.0,
}
GATE_BY_TOKEN: Mapping[str, float] = {
    "[PAD]": 0.0,
    "[UNK]": 0.0,
    "[CLS]": 0.25,
    "[SEP]": 0.125,
    "[MASK]": 0.0,
    "good": 1.0,
    "bad": 1.0,
    "fun": 0.75,
    "##ny": 0.5,
    "dull": 1.0,
    "movie": 0.5,
    "a": 0.125,
    ",": 0.0,
}
TOKENS = tuple(WEIGHT_BY_TOKEN)
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "keep")


def tiny_logits(tokens: Sequence[str], *, kept: Sequence[bool] | None = None) -> Any:
    """Return `[labels]`: the logits of a single text, by arithmetic."""
    kept = [True] * len(tokens) if kept is None else kept
    total = sum(
        WEIGHT_BY_TOKEN[token]
        for token, is_kept in zip(tokens, kept, strict=True)
        if is_kept
    )
    return np.array([-total, total], dtype=np.float32)


def tiny_input_gates(tokens: Sequence[str]) -> NDArray[np.float32]:
    """Return `[layers, tokens]`: the input gates, by arithmetic."""
    gates = [GATE_BY_TOKEN[token] for token in tokens]
    return np.outer(DECAYS, gates).astype(np.float32)


def tiny_hidden_gates(tokens: Sequence[str]) -> NDArray[np.float32]:
    """Return `[layers, tokens]`: the hidden gates, by arithmetic."""
    return np.float32(1.0) - tiny_input_gates(tokens)


def tiny_tokenizer(*, normalizer: Any = None) -> bytes:
    """Return a `tokenizer.json` in the manner of BERT."""
    index_by_token = {token: index for index, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.WordPiece(index_by_token, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer or normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, index_by_token[token]) for token in ("[CLS]", "[SEP]")],
    )
    # As saved after training, where padding and truncation were on.
    tokenizer.enable_padding(length=MAX_TOKENS)
    tokenizer.enable_truncation(4)
    return tokenizer.to_str().encode()


def tiny_model(inputs: Sequence[str] = INPUTS) -> onnx.ModelProto:
    """Return the graph, to be spoilt by a test or saved."""

    def constant(name: str, values: Any) -> TensorProto:
        return numpy_helper.from_array(np.array(values, dtype=np.float32), name)

    types = dict.fromkeys(INPUTS, TensorProto.INT64) | {"keep": TensorProto.FLOAT}
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["weight"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["weight", "real"], ["real_weight"]),
        helper.make_node("Mul", ["real_weight", "keep"], ["kept_weight"]),
    ]
    kept_weight = "kept_weight"
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["kind"], to=1),
            helper.make_node("Add", ["kind", "one"], ["factor"]),
            helper.make_node("Mul", ["kept_weight", "factor"], ["scaled_weight"]),
        ]
        kept_weight = "scaled_weight"
    nodes += [
        helper.make_node("ReduceSum", [kept_weight, "axis_1"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "signs"], ["logits"]),
        helper.make_node("Gather", ["gates", "input_ids"], ["gate"]),
        helper.make_node("Unsqueeze", ["gate", "axis_1"], ["gate_of_text"]),
        helper.make_node("Mul", ["gate_of_text", "decays"], ["input_gates"]),
        helper.make_node("Sub", ["one", "input_gates"], ["hidden_gates"]),
    ]
    gate_shape: list[str | int | None] = ["batch", len(STATES), "tokens"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, types[name], ["batch", "tokens"])
            for name in inputs
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("input_gates", TensorProto.FLOAT, gate_shape),
            helper.make_tensor_value_info(
                "hidden_gates", TensorProto.FLOAT, gate_shape
            ),
        ],
        [
            constant("weights", list(WEIGHT_BY_TOKEN.values())),
            constant("gates", list(GATE_BY_TOKEN.values())),
            constant("signs", [[-1.0, 1.0]]),
            constant("decays", np.reshape(DECAYS, (1, -1, 1))),
            constant("one", 1.0),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis_1"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def tiny_span_model() -> onnx.ModelProto:
    """Return a graph whose start and end logits are the weights of the kept tokens."""
    model = tiny_model()
    graph = model.graph
    nodes = [node for node in graph.node if "logits" not in node.output]
    del graph.node[:]
    graph.node.extend(nodes)
    outputs = [value for value in graph.output if value.name != "logits"]
    del graph.output[:]
    for name in ("start_logits", "end_logits"):
        graph.node.append(helper.make_node("Identity", ["scaled_weight"], [name]))
        value = helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch", "tokens"]
        )
        graph.output.append(value)
    graph.output.extend(outputs)
    return model


def tiny_manifest(**changes: Any) -> Manifest:
    """Return the manifest that goes with `tiny_model`."""
    manifest = Manifest(
        id="tiny",
        version="3",
        labels=LABELS,
        max_tokens=MAX_TOKENS,
        takes_pairs=False,
        inputs=INPUTS,
        states=STATES,
        padding="any",
        graphs={"fp32": Graph(file="model.fp32.onnx", fused_attentions=0)},
        default_graph="fp32",
        parity=Parity(
            lengths=(3,),
            max_logit_difference=0.0,
            max_gate_difference=0.0,
            tolerance=1e-5,
        ),
        probes={"input": _probe_report(), "hidden": _probe_report()},
        accuracy=1.0,
        macro_f1=1.0,
        reference={"input": _reference(), "hidden": _reference()},
        provenance=Provenance(
            created="2025-01-01T00:00:00+00:00",
            base_model="arithmetic",
            data="none",
            config={},
            packages={},
            processor="any",
        ),
    )
    return replace(manifest, **changes)


def tiny_selftest(**changes: Any) -> SelfTest:
    """Return the self-test of a model of single texts."""
    tokens = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
    case = SelfTestCase(
        text="a funny movie",
        input_ids=tuple(TOKENS.index(token) for token in tokens),
        logits=tuple(tiny_logits(tokens).tolist()),
        input_gates=tuple(map(tuple, tiny_input_gates(tokens).tolist())),
        hidden_gates=tuple(map(tuple, tiny_hidden_gates(tokens).tolist())),
    )
    return SelfTest(tolerance=1e-6, cases=(replace(case, **changes),))


def tiny_files(**changes: bytes) -> dict[str, bytes]:
    """Return the content of every file but the manifest; dots are written `__`."""
    files = {
        "model.fp32.onnx": tiny_model().SerializeToString(),
        "selftest.json": tiny_selftest().to_json(),
        "tokenizer.json": tiny_tokenizer(),
        "README.md": b"# tiny\n",
    }
    return files | {name.replace("__", "."): raw for name, raw in changes.items()}


def write_tiny_bundle(directory: Path, **changes: Any) -> Bundle:
    """Write the tiny bundle; changes go to its manifest."""
    return write_bundle(directory, tiny_manifest(**changes), tiny_files())


def write_tiny_pair_bundle(directory: Path) -> Bundle:
    """Write the same model as one of text pairs."""
    tokens = ("[CLS]", "a", "[SEP]", "movie", "[SEP]")
    selftest = tiny_selftest(
        text="a",
        text_pair="movie",
        input_ids=tuple(TOKENS.index(token) for token in tokens),
        logits=(-0.5, 0.5),
        input_gates=tuple(map(tuple, tiny_input_gates(tokens).tolist())),
        hidden_gates=tuple(map(tuple, tiny_hidden_gates(tokens).tolist())),
    )
    files = tiny_files(selftest__json=selftest.to_json())
    return write_bundle(directory, tiny_manifest(takes_pairs=True), files)


def write_tiny_span_bundle(directory: Path) -> Bundle:
    """Write a model that answers questions with the heaviest words of the context."""
    tokens = ("[CLS]", "a", "[SEP]", "movie", "[SEP]")
    weights = (0.25, 0.0, 0.0, 0.25, 0.0)
    selftest = tiny_selftest(
        text="a",
        text_pair="movie",
        input_ids=tuple(TOKENS.index(token) for token in tokens),
        logits=tuple(weight for weight in weights for _ in range(2)),
        input_gates=tuple(map(tuple, tiny_input_gates(tokens).tolist())),
        hidden_gates=tuple(map(tuple, tiny_hidden_gates(tokens).tolist())),
    )
    files = tiny_files(
        selftest__json=selftest.to_json(),
        model__fp32__onnx=tiny_span_model().SerializeToString(),
    )
    manifest = tiny_manifest(task="question_answering", labels=(), takes_pairs=True)
    return write_bundle(directory, manifest, files)


def _probe_report() -> ProbeReport:
    states = tuple(
        StateReport(
            state=state,
            kept_share=0.5,
            agreement=1.0,
            divergence=0.0,
            violation_rate=0.0,
            accuracy=1.0,
            macro_f1=1.0,
            multiplier=1.0,
        )
        for state in STATES
    )
    return ProbeReport(
        is_feasible=True,
        forced=False,
        margin=0.1,
        num_texts=1,
        masked_share=0.5,
        agreement=1.0,
        divergence=0.0,
        violation_rate=0.0,
        accuracy_before=1.0,
        accuracy_after=1.0,
        macro_f1_before=1.0,
        macro_f1_after=1.0,
        fit_seconds=0.0,
        seconds_by_stage={},
        states=states,
    )


def _reference() -> ReferenceDistribution:
    values = ((0.5,) * len(STATES),) * len(LABELS)
    return ReferenceDistribution(num_texts=(1, 1), mean_gate=values, kept_share=values)
