"""Reduced arithmetic: matrix products of 8-bit numbers.

Weights are stored as int8 with one scale per output channel. Activations are scaled as
they come, by the largest value of the run: a text must run alone and unpadded, or its
batch mates would choose its scale.

One scale for a whole run serves badly where a few channels are ten times as large as
the rest, as in front of the feed-forward layers of a transformer. There each channel is
multiplied by a number beforehand and the weights that read it divided by it, which
changes nothing but the rounding; `smoothing.py` finds the numbers. Channels whose
number is 0 do not take part: a float32 product of their own few columns is added, as in
Dettmers et al. 2022, "LLM.int8()", section 3.2.

`onnxruntime.quantization` does this only for graphs of fixed scales, through a further
package, and does not infer the types of this graph.

Measured on an earlier 6 x 384 model and 872 texts, against float32, one AVX-512 core
with 8-bit instructions, CPU time, medians of 15 runs:

| what is smoothed | labels agree | rank of input, hidden gates | 32, 128 tokens |
| --- | --- | --- | --- |
| nothing | 98.74 % | 0.9992, 0.9945 | 2.11, 1.91 times as fast |
| feed-forward layers, exponent 0.5 | 98.74 % | 0.9980, 0.9883 | 2.08, 1.91 |
| feed-forward layers, exponent 0.75 | 99.66 % | 0.9996, 0.9962 | 2.09, 1.93 |
| feed-forward layers, exponent 0.85 | 99.43 % | 0.9997, 0.9952 | not measured |
| all, by random tokens, exponent 0.75 | 98.97 % | 0.9992, 0.9927 | 2.04, 1.88 |
| each product by its own error | 99.89 % | 0.9997, 0.9954 | 2.04, 1.87 |

On the shipped bundle's model and 2,693 texts, where labels alone say little (8 to 17
texts differ), mean differences of the logits' difference and of the gates:

| each product by its own error | logits | input, hidden gates | 32, 128 tokens |
| --- | --- | --- | --- |
| exponents | 0.083 | 0.0046, 0.0097 | 2.11, 1.88 |
| exponents and cuts | 0.073 | 0.0043, 0.0087 | 2.16, 1.89 |
| and channels apart, in 4 wide products | 0.055 | 0.0030, 0.0040 | 2.13, 1.88 |
| and channels apart, in 17 products | 0.042 | 0.0023, 0.0031 | 2.01, 1.78 |

Weights rounded so that later ones make up for earlier ones (Frantar et al. 2023,
"GPTQ") take 0.086 to 0.073 for nothing, but depend on texts that `verify` does not
have.

Not reducing the second feed-forward products at all keeps every label of 150 texts and
is only 1.48 and 1.41 times as fast. Products of 8-bit blocks (`MatMulNBits`, 32 values
a scale) are closer still (0.99998 and 0.9998) and only 1.20 and 0.96 times as fast.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

LEVELS = 127
SMOOTHED = "_smoothed"
# Narrower products take no time, and gates turn on the small differences of theirs.
_MIN_WIDTH = 32
_MIN_RATIO = 1 / 16
_DOMAIN = "com.microsoft"
# Attributes of an `Attention` that a product and a `MultiHeadAttention` can express.
_CONVERTIBLE = {"num_heads", "qkv_hidden_sizes", "scale", "mask_filter_value"}


def quantise_products(
    model: ModelProto, multipliers: Mapping[str, NDArray[np.float32]]
) -> ModelProto:
    """Return a copy of a float32 graph whose large matrix products are of 8 bits.

    Attention itself, norms, activation functions and small products stay float32.

    Args:
        model: The graph, its attention fused.
        multipliers: By the name of a smoothed product's output `[in]`:
            what its values are multiplied by, and its weight's rows divided by;
            0 for a channel that stays float32.
    """
    reduced = join_constants(model)
    writer = _Writer(tensors_of(reduced), multipliers)
    for node in reduced.graph.node:
        writer.add(node)
    del reduced.graph.node[:], reduced.graph.value_info[:]
    reduced.graph.node.extend(writer.nodes)
    _replace_tensors(reduced.graph, writer.tensors)
    return reduced


class _Writer:
    """Nodes of the reduced graph, one after the other, and the tensors they add.

    Attributes:
        nodes: In topological order.
        tensors: By name.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float32]],
        multipliers: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: dict[str, NDArray[Any]] = {}
        self._weights = weights
        self._multipliers = multipliers

    def add(self, node: NodeProto) -> None:
        """Write a node, or what takes its place."""
        if not is_reducible(node, self._weights):
            self.nodes.append(node)
        elif node.op_type == "Attention":
            self._add_attention(node)
        else:
            self._add_product(node, node.output[0])

    def _add_attention(self, node: NodeProto) -> None:
        # Its own product is inside the operator, so it is taken out in front of it.
        output, attributes = node.output[0], _attributes(node)
        scores_bias = (list(node.input[5:6]) or [""])[0]
        self._add_product(node, f"{output}_qkv", bias=node.input[2])
        sizes = attributes.pop("qkv_hidden_sizes", None)
        if sizes is None:
            sizes = [self._weights[node.input[1]].shape[1] // 3] * 3
        self.tensors[f"{output}_sizes"] = np.array(sizes, dtype=np.int64)
        parts = [f"{output}_{part}" for part in ("query", "key", "value")]
        self.nodes.append(
            helper.make_node(
                "Split", [f"{output}_qkv", f"{output}_sizes"], parts, axis=-1
            )
        )
        self.nodes.append(
            helper.make_node(
                "MultiHeadAttention",
                [*parts, "", "", scores_bias],
                [output],
                name=node.name,
                domain=_DOMAIN,
                **attributes,
            )
        )

    def _add_product(self, node: NodeProto, output: str, bias: str = "") -> None:
        value, weight = node.input[0], self._weights[node.input[1]]
        multiplier = self._multipliers.get(node.output[0])
        if multiplier is None:
            self._add_reduced(value, weight, output, bias=bias)
            return
        name = f"{node.output[0]}{SMOOTHED}"
        self.tensors[f"{name}_by"] = multiplier
        self.nodes.append(helper.make_node("Mul", [value, f"{name}_by"], [name]))
        smoothed = divided(weight, multiplier)
        apart = np.flatnonzero(multiplier == 0)
        if not apart.size:
            self._add_reduced(name, smoothed, output, bias=bias)
            return
        self._add_reduced(name, smoothed, f"{output}_most", bias=bias)
        self.tensors[f"{output}_channels"] = apart
        self.tensors[f"{output}_rows"] = weight[apart]
        few, product = f"{output}_few", f"{output}_apart"
        self.nodes += [
            helper.make_node("Gather", [value, f"{output}_channels"], [few], axis=-1),
            helper.make_node("MatMul", [few, f"{output}_rows"], [product]),
            helper.make_node("Add", [f"{output}_most", product], [output]),
        ]

    def _add_reduced(
        self, value: str, weight: NDArray[np.float32], output: str, *, bias: str
    ) -> None:
        codes, scale = f"{output}_codes", f"{output}_scale"
        self.tensors[scale] = channel_scale(weight)
        levels = np.rint(weight / self.tensors[scale])
        self.tensors[codes] = np.clip(levels, -LEVELS, LEVELS).astype(np.int8)
        self.nodes.append(
            helper.make_node(
                "DynamicQuantizeMatMul",
                [value, codes, scale, "", bias],
                [output],
                domain=_DOMAIN,
            )
        )


def smoothing_of(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return the multipliers that an 8-bit graph was made with, by product.

    Args:
        model: What `quantise_products` returned.
    """
    end = f"{SMOOTHED}_by"
    return {
        tensor.name.removesuffix(end): numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.endswith(end)
    }


def channel_scale(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `[out]`: what one level of each output channel of a weight is worth."""
    largest = np.maximum(np.abs(weight).max(axis=0), 1e-12)
    return np.asarray(largest / LEVELS, dtype=np.float32)


def divided(
    weight: NDArray[np.float32], multiplier: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a weight `[in, out]` for values that were multiplied beforehand.

    Args:
        weight: `[in, out]`.
        multiplier: `[in]`, >= 0; where it is 0, so is the row that is returned.
    """
    taken = multiplier > 0
    safe = np.where(taken, multiplier, np.float32(1))
    return np.where(taken[:, np.newaxis], weight / safe[:, np.newaxis], np.float32(0))


def is_reducible(node: NodeProto, weights: Mapping[str, NDArray[np.float32]]) -> bool:
    """Return whether a node is a large product with a constant weight, or holds one.

    Args:
        node: Of a graph whose constants are joined.
        weights: The graph's tensors by name.
    """
    if node.op_type == "MatMul":
        return _is_large(weights.get(node.input[1]))
    return (
        node.op_type == "Attention"
        and _is_large(weights.get(node.input[1]))
        and not any(node.input[3:5])
        and not any(node.input[6:])
        and set(_attributes(node)) <= _CONVERTIBLE
    )


def _is_large(weight: NDArray[np.float32] | None) -> bool:
    if weight is None or weight.ndim != 2:
        return False
    least, most = min(weight.shape), max(weight.shape)
    return bool(least >= _MIN_WIDTH and least >= _MIN_RATIO * most)


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def join_constants(model: ModelProto) -> ModelProto:
    """Return a copy whose weights of query, key and value are one tensor each.

    Fusion leaves them side by side, to be joined when the graph is loaded.
    """
    reduced = ModelProto()
    reduced.CopyFrom(model)
    graph = reduced.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    joined = {
        node.output[0]: np.concatenate(
            [numpy_helper.to_array(weights[name]) for name in node.input],
            axis=_attributes(node)["axis"],
        )
        for node in graph.node
        if node.op_type == "Concat" and all(name in weights for name in node.input)
    }
    nodes = [node for node in graph.node if node.output[0] not in joined]
    del graph.node[:]
    graph.node.extend(nodes)
    _replace_tensors(graph, joined)
    return reduced


def tensors_of(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return a graph's constants by name."""
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }


def _replace_tensors(graph: GraphProto, added: Mapping[str, NDArray[Any]]) -> None:
    # Adds tensors, and drops those that no node reads any more.
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    kept += [numpy_helper.from_array(value, name) for name, value in added.items()]
    del graph.initializer[:]
    graph.initializer.extend(kept)
