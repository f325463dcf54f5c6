"""The report of an audit: figures out of its parts, and one page that shows them.

Order: `reading` gives texts out of parts; collectors (`groups`, `profiles`,
`vocabulary`, `plausibility`, `worst`) take one at a time and keep sums alone;
`findings` holds what they found; `drawing` makes a page of it. `trials` asks the model
again about texts that `sampling` chose, which `shortcuts` keeps; `comparing` reads a
second audit.
"""

from diffmask_service.audit.report.comparing import check_comparable
from diffmask_service.audit.report.drawing import render_report
from diffmask_service.audit.report.findings import Findings, gather
from diffmask_service.audit.report.reading import Audit, open_audit
from diffmask_service.audit.report.removing import (
    BundleRemoving,
    Removing,
    ServerRemoving,
)
from diffmask_service.audit.report.tagging import find_tagger
from diffmask_service.audit.report.trials import find_shortcuts

__all__ = [
    "Audit",
    "BundleRemoving",
    "Findings",
    "Removing",
    "ServerRemoving",
    "check_comparable",
    "find_shortcuts",
    "find_tagger",
    "gather",
    "open_audit",
    "render_report",
]
