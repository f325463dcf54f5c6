"""Replays: what was explained before is explained again, and compared bit for bit.

`rows` needs the extra `audit`, for pyarrow, and is imported where it is used.
"""

from diffmask_service.replay.comparison import Comparison, Difference, compare
from diffmask_service.replay.reply import RecordedReply, as_recorded, read_reply
from diffmask_service.replay.verdict import Verdict, differing_fields

__all__ = [
    "Comparison",
    "Difference",
    "RecordedReply",
    "Verdict",
    "as_recorded",
    "compare",
    "differing_fields",
    "read_reply",
]
