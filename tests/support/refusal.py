"""Cases of bundles that must be refused, and what must come of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from diffmask_service.errors import BundleError
from diffmask_service.repository import ModelFolder, ModelState, Repository
from tests.support.engine import explain_one
from tests.support.malice import Spoiler
from tests.support.repository import put_version


class Case(NamedTuple):
    """One way to spoil a bundle.

    Attributes:
        name: What a test run calls it.
        spoil: Does it, to the folder of a version.
        kind: The very error that must come of it.
        message: What the error must say, a pattern.
    """

    name: str
    spoil: Spoiler
    kind: type[BundleError]
    message: str


def parametrise(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Return the mark that runs a test of a `case` for each."""
    return pytest.mark.parametrize(
        "case",
        cases,
        ids=[case.name.replace("\0", "0") for case in cases],
    )


async def check_refusal(tmp_path: Path, case: Case) -> None:
    """Put a good version and a spoilt one in place; see that the good one answers.

    Args:
        tmp_path: An empty folder.
        case: The spoilt one.
    """
    root = tmp_path / "models"
    put_version(root, 1)
    repository = Repository(source=ModelFolder(root))
    await repository.start()
    case.spoil(put_version(root, 2))
    with pytest.raises(case.kind, match=case.message) as raised:
        await repository.load("tiny")
    assert type(raised.value) is case.kind
    assert str(tmp_path) not in str(raised.value)
    assert len(str(raised.value)) < 2000
    good, bad = repository.index()
    assert (good.version, good.state) == ("1", ModelState.READY)
    assert (bad.version, bad.state) == ("2", ModelState.UNAVAILABLE)
    assert bad.reason == str(raised.value)
    engine = repository.find("tiny", version="")
    assert engine.description.identity.version == "1"
    assert (await explain_one(engine)).num_tokens == 6
    repository.close()
