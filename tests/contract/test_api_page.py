"""docs/api.md says what the docstrings say, and leaves nothing out."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from diffmask_service import client, errors
from diffmask_service.core import predictions, values

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
# What the server keeps for itself; a client's replies hold none.
INTERNAL = {"TokenizedText", "Outputs", "TokenInput", "ExplainOptions"}


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_api", DOCS / "write_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_docstrings_say(writer: ModuleType) -> None:
    assert writer.write_page() == PAGE, "run `make api`"


def test_everything_public_of_the_client_is_there() -> None:
    assert set(client.__all__) <= set(HEADINGS)


def test_every_method_of_a_client_is_there() -> None:
    for kind in (client.Client, client.AsyncClient):
        methods = {name for name in vars(kind) if not name.startswith("_")}
        shown = re.findall(rf"^#### {kind.__name__}\.(\w+)$", PAGE, re.MULTILINE)
        assert set(shown) == methods


def test_every_error_is_there() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert kinds <= set(HEADINGS)


@pytest.mark.parametrize("module", [values, predictions])
def test_every_value_is_there_but_those_of_the_server(module: ModuleType) -> None:
    kinds = {
        name
        for name, kind in vars(module).items()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    }
    assert kinds - INTERNAL <= set(HEADINGS)


def test_nothing_is_there_twice() -> None:
    assert len(HEADINGS) == len(set(HEADINGS))
