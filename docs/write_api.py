"""Writes docs/api.md, the reference of the Python API, from the docstrings.

`make api` runs it. The code is read, not imported.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import griffe

_ROOT = Path(__file__).parents[1]
_TITLE = """\
# Python API

What a program imports from `diffmask_service`; `make api` writes this page from the \
docstrings.
The client needs neither a model nor ONNX Runtime.
Axes of arrays are written in brackets; `layers` are the states of the model in the \
order of `Reply.states`, index 0 first.

[The README](../README.md#api) has a first example, [protocols.md](protocols.md) \
streams and other clients, and [the proto](../protos/diffmask/v1/explain.proto) the \
API for every other language.
"""
# Section to module to names; a module without names gives its classes, in its order.
_SECTIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "Client": {
        "diffmask_service.client": (
            *("Client", "AsyncClient", "ExplainKeywords", "tls_credentials"),
        )
    },
    "What a request holds": {
        "diffmask_service.core.values": (
            *("TextInput", "ExplainWhen", "GateKind", "Granularity"),
        )
    },
    "What a reply holds": {
        "diffmask_service.core.values": (
            *("Reply", "Explanation", "Verification", "Timings", "ModelIdentity"),
            *("ModelDescription", "Task"),
        ),
        "diffmask_service.core.predictions": (
            *("Units", "LabelPrediction", "LabelSetPrediction", "ValuePrediction"),
            *("TagsPrediction", "SpanPrediction"),
        ),
    },
    "Errors": {"diffmask_service.errors": ()},
    "Bundles": {
        "diffmask_service.bundle": (
            *("read_bundle", "Bundle", "Manifest", "Graph", "GraphFidelity"),
            *("ProbeReport", "StateReport", "ReferenceDistribution", "Provenance"),
        )
    },
}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=_ROOT / "docs" / "api.md")
    parser.parse_args().to.write_text(write_page(), encoding="utf-8")


def write_page() -> str:
    """Return the page as Markdown."""
    package = griffe.load(
        "diffmask_service", search_paths=[_ROOT / "service"], docstring_parser="google"
    )
    parts = [_TITLE]
    for section, names_by_module in _SECTIONS.items():
        parts.append(f"## {section}\n")
        for path, names in names_by_module.items():
            module: Any = package[path.partition(".")[2]]
            parts.append(f"`from {path} import …`\n")
            for name in names or [each.name for each in module.classes.values()]:
                parts += _object(module[name])
    return "\n".join(parts)


def _object(found: Any) -> Iterator[str]:
    target = found.final_target if found.is_alias else found
    kind = "class " if target.is_class else ""
    yield f"### {target.name}\n"
    bases = ", ".join(str(base) for base in target.bases) if target.is_class else ""
    yield f"```text\n{kind}{_signature(target, bases)}\n```\n"
    yield from _docstring(target)
    if bases == "StrEnum":
        rows = [f"- `{each.value}`" for each in target.attributes.values()]
        yield "\n".join(["Values:\n", *rows, ""])
    if target.is_class:
        for member in target.functions.values():
            if not member.name.startswith("_"):
                is_property = "property" in member.labels
                yield f"#### {target.name}.{member.name}\n"
                shown = member.name if is_property else _signature(member, "")
                yield f"```text\n{shown}\n```\n"
                yield from _docstring(member)
        for member in target.attributes.values():
            if "property" in member.labels:
                yield f"#### {target.name}.{member.name}\n"
                yield f"```text\n{member.name}: {member.annotation}\n```\n"
                yield from _docstring(member)


def _signature(target: Any, bases: str) -> str:
    init = target.members.get("__init__") if target.is_class else target
    if init is None:
        fields = [
            f"{field.name}: {field.annotation}"
            + ("" if field.value is None else f" = {field.value}")
            for field in target.attributes.values()
            if field.annotation is not None and "property" not in field.labels
        ]
        return _laid_out(target.name, fields) if fields else f"{target.name}({bases})"
    shown: list[str] = []
    for parameter in init.parameters:
        if parameter.name == "self":
            continue
        is_keyword = parameter.kind is griffe.ParameterKind.keyword_only
        if is_keyword and "*" not in shown:
            shown.append("*")
        stars = {
            griffe.ParameterKind.var_keyword: "**",
            griffe.ParameterKind.var_positional: "*",
        }.get(parameter.kind, "")
        text = f"{stars}{parameter.name}: {parameter.annotation}"
        if parameter.default is not None and not stars:
            text += f" = {parameter.default}"
        shown.append(text)
    returns = "" if target.is_class else f" -> {target.returns}"
    coroutine = "async " if "async" in target.labels else ""
    return coroutine + _laid_out(target.name, shown) + returns


def _laid_out(name: str, parts: Sequence[str]) -> str:
    line = f"{name}({', '.join(parts)})"
    if len(line) <= 80:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), ")"])


def _docstring(target: Any) -> Iterator[str]:
    if target.docstring is None:
        return
    for section in target.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield f"{section.value}\n"
        elif isinstance(section.value, list):
            yield f"{section.kind.value.capitalize()}:\n"
            rows = [f"- {_entry(entry)}" for entry in section.value]
            yield "\n".join(rows) + "\n"


def _entry(entry: Any) -> str:
    text = " ".join(entry.description.split())
    name = getattr(entry, "name", "") or (
        str(entry.annotation) if getattr(entry, "annotation", None) else ""
    )
    return f"`{name}`: {text}" if name else text


if __name__ == "__main__":
    main()
