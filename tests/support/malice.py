"""Bundles that somebody spoilt on purpose; each keeps the digests right if it can.

A spoiler changes a whole bundle on the disk. What it makes must be refused by the check
that it is meant for, so everything else about it stays as it should be.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper

Spoiler = Callable[[Path], None]
GRAPH = "model.fp32.onnx"


def seal(directory: Path) -> None:
    """List every file as it lies there."""

    def vouch(header: dict[str, Any]) -> None:
        header["files"] = {
            path.name: {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "num_bytes": path.stat().st_size,
            }
            for path in sorted(directory.iterdir())
            if path.name != "manifest.json"
        }

    manifest(vouch)(directory)


def manifest(change: Callable[[dict[str, Any]], object]) -> Spoiler:
    """Change the manifest."""

    def spoil(directory: Path) -> None:
        path = directory / "manifest.json"
        header = json.loads(path.read_bytes())
        change(header)
        path.write_text(json.dumps(header))

    return spoil


def entry(value: object, *keys: str) -> Spoiler:
    """Set one value of the manifest."""

    def change(header: dict[str, Any]) -> None:
        *parents, last = keys
        for key in parents:
            header = header[key]
        header[last] = value

    return manifest(change)


def words_of_manifest(old: str, new: str) -> Spoiler:
    """Replace what stands in the manifest, whether JSON allows it or not."""

    def spoil(directory: Path) -> None:
        path = directory / "manifest.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def content(name: str, raw: bytes) -> Spoiler:
    """Give a file another content, and vouch for it."""

    def spoil(directory: Path) -> None:
        (directory / name).write_bytes(raw)
        seal(directory)

    return spoil


def replaced(name: str, change: Callable[[bytes], bytes]) -> Spoiler:
    """Change a file's content without vouching for it."""

    def spoil(directory: Path) -> None:
        path = directory / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def document(name: str, change: Callable[[dict[str, Any]], object]) -> Spoiler:
    """Change a file of JSON, and vouch for it."""

    def spoil(directory: Path) -> None:
        value = json.loads((directory / name).read_bytes())
        change(value)
        content(name, json.dumps(value).encode())(directory)

    return spoil


def graph(change: Callable[[ModelProto], object]) -> Spoiler:
    """Change the graph, and vouch for it."""

    def spoil(directory: Path) -> None:
        model = onnx.load_model_from_string((directory / GRAPH).read_bytes())
        change(model)
        content(GRAPH, model.SerializeToString())(directory)

    return spoil


def resized(name: str, num_bytes: int) -> Spoiler:
    """Let a file seem as large as wanted; it takes no room on the disk."""
    return lambda directory: os.truncate(directory / name, num_bytes)


def linked(name: str, *, is_hard: bool) -> Spoiler:
    """Let a file be another one of the same content."""

    def spoil(directory: Path) -> None:
        elsewhere = directory.parent / f".elsewhere-{name}"
        (directory / name).rename(elsewhere)
        if is_hard:
            (directory / name).hardlink_to(elsewhere)
        else:
            (directory / name).symlink_to(elsewhere)

    return spoil


def stranger(name: str) -> Spoiler:
    """Put a file beside the others that nobody vouches for."""

    def spoil(directory: Path) -> None:
        (directory / name).write_bytes(b"\x7fELF")

    return spoil


def folder_linked(directory: Path) -> None:
    """Let the folder itself be another one."""
    elsewhere = directory.with_name(".elsewhere")
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)


def pipe(directory: Path) -> None:
    """Let a file be a pipe, which would never end."""
    (directory / "README.md").unlink()
    os.mkfifo(directory / "README.md")


def device(directory: Path) -> None:
    """Let a file be a folder."""
    (directory / "README.md").unlink()
    (directory / "README.md").mkdir()


def external_tensor() -> TensorProto:
    """Return a tensor whose data another file holds."""
    tensor = helper.make_tensor("stolen", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def body(*, tensor: TensorProto | None = None, domain: str = "") -> GraphProto:
    """Return the body of a control flow, which takes a tensor or an operator along."""
    node = helper.make_node("Evil" if domain else "Identity", ["x"], ["y"])
    node.domain = domain
    return helper.make_graph([node], "body", [], [], [tensor] if tensor else [])


def control_flow(operator: str, attribute: str, inner: GraphProto) -> Spoiler:
    """Hang a graph on an operator."""
    node = helper.make_node(operator, ["keep"], ["unused"])
    node.attribute.append(helper.make_attribute(attribute, inner))
    return graph(lambda model: model.graph.node.append(node))


def operator(name: str, **attributes: Any) -> Spoiler:
    """Add an operator of the runtime's own."""
    node = helper.make_node(
        name, ["keep"], ["unused"], domain="com.microsoft", **attributes
    )
    return graph(lambda model: model.graph.node.append(node))


def tensor(name: str, **fields: Any) -> Spoiler:
    """Change the fields of an initialiser."""

    def change(model: ModelProto) -> None:
        found = next(each for each in model.graph.initializer if each.name == name)
        for field, value in fields.items():
            found.ClearField(field)
            if isinstance(value, list):
                getattr(found, field).extend(value)
            else:
                setattr(found, field, value)

    return graph(change)


def sparse_attribute(model: ModelProto) -> None:
    """Hide a tensor in a sparse one, on an attribute."""
    attribute = AttributeProto(name="sparse_value", type=AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(external_tensor())
    node = helper.make_node("Constant", [], ["unused"])
    node.attribute.append(attribute)
    model.graph.node.append(node)


def foreign_function(model: ModelProto) -> None:
    """Give an operator a body of foreign ones."""
    inner = helper.make_node("Evil", ["x"], ["y"], domain="evil")
    sets = [helper.make_opsetid("evil", 1)]
    model.functions.append(
        helper.make_function("local", "Kind", ["x"], ["y"], [inner], sets)
    )


def training(model: ModelProto) -> None:
    """Bring a second graph along."""
    model.training_info.add().algorithm.CopyFrom(body(domain="evil"))


def made_tensor(sizes: list[int]) -> Callable[[ModelProto], None]:
    """Let the runtime make a tensor of any size out of nothing."""

    def change(model: ModelProto) -> None:
        shape = helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)
        model.graph.node.append(helper.make_node("Constant", [], ["n"], value=shape))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["n"], ["unused"]))

    return change


def nested_graphs(depth: int) -> bytes:
    """Return a file of graphs in graphs, as deep as wanted."""
    raw = b""
    # Fields: ModelProto.graph 7, GraphProto.node 1, NodeProto.attribute 5,
    # AttributeProto.g 6; all of them with a length before the content.
    for _ in range(depth):
        for number in (6, 5, 1):
            raw = bytes([number << 3 | 2]) + _varint(len(raw)) + raw
    return bytes([7 << 3 | 2]) + _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
