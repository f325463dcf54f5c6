"""Renders the Kustomize overlays, as far as they use Kustomize."""

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

# Which field tells elements of a list apart when lists are merged; others are replaced.
_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
_KNOWN = {"apiVersion", "kind", "resources", "namespace", "patches"}


def render(directory: Path) -> list[Manifest]:
    """Return the manifests of a folder with a kustomization, patches applied."""
    customisation = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert set(customisation) <= _KNOWN, "this is not rendered here"
    manifests: list[Manifest] = []
    for name in customisation["resources"]:
        path = (directory / name).resolve()
        manifests += render(path) if path.is_dir() else load(path)
    for entry in customisation.get("patches", []):
        assert set(entry) == {"path"}, "this is not rendered here"
        (patch,) = load(directory / entry["path"])
        (target,) = (
            place
            for place, each in enumerate(manifests)
            if identity(each) == identity(patch)
        )
        manifests[target] = merged(manifests[target], patch)
    if "namespace" in customisation:
        for each in manifests:
            # The namespace itself lies in none; Kustomize gives it the name.
            field = "name" if each["kind"] == "Namespace" else "namespace"
            each["metadata"][field] = customisation["namespace"]
    return manifests


def load(path: Path) -> list[Manifest]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def identity(manifest: Manifest) -> tuple[str, str]:
    """Return kind and name."""
    return manifest["kind"], manifest["metadata"]["name"]


def merged(old: Any, new: Any, *, field: str = "") -> Any:
    """Return a value with a strategic merge patch applied."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = {
            key: merged(old[key], value, field=key) if key in old else value
            for key, value in new.items()
        }
        return old | both
    key = _merge_key(field, new)
    if not isinstance(old, list) or key is None:
        return new
    place_by_key = {element[key]: place for place, element in enumerate(old)}
    result = list(old)
    for element in new:
        place = place_by_key.get(element[key])
        if place is None:
            result.append(element)
        else:
            result[place] = merged(result[place], element)
    return result


def _merge_key(field: str, elements: Any) -> str | None:
    # The ports of containers and of services have different keys.
    if field == "ports":
        return "containerPort" if "containerPort" in elements[0] else "port"
    return _MERGE_KEYS.get(field)
