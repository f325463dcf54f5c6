from pathlib import Path

import pytest

from diffmask_service.audit.report import Audit, open_audit
from tests.support.explained import audit_tiny


@pytest.fixture(scope="session")
def finished_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path
) -> Path:
    """An audit of forty texts by the tiny model, to be read only."""
    return audit_tiny(tmp_path_factory.mktemp("audits"), tiny_directory)


@pytest.fixture(scope="session")
def finished(finished_folder: Path) -> Audit:
    return open_audit(finished_folder)
