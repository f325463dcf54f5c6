"""Audits: a whole data set explained, each explanation checked, one folder to read.

Needs the extra `audit`, for pyarrow; nothing else of the service imports this package.
"""

from diffmask_service.audit.answering import (
    Answering,
    BundleAnswers,
    ServerAnswers,
    audit_limits,
)
from diffmask_service.audit.folder import Folder
from diffmask_service.audit.parts import AuditSettings, PartMaker, PartsHere
from diffmask_service.audit.rows import Columns
from diffmask_service.audit.runner import run_audit
from diffmask_service.audit.source import Source, open_source

__all__ = [
    "Answering",
    "AuditSettings",
    "BundleAnswers",
    "Columns",
    "Folder",
    "PartMaker",
    "PartsHere",
    "ServerAnswers",
    "Source",
    "audit_limits",
    "open_source",
    "run_audit",
]
