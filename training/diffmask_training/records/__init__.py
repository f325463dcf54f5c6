"""Records: texts and their labels, read from files.

First step of the data flow. A record that leaves this package has a text that is not
empty and a label that its task can have; everything after it trusts that.
"""

from diffmask_training.records.files import MAX_HELD_BYTES, read_records
from diffmask_training.records.values import Answer, Columns, Label, Record, WordTag

__all__ = [
    "MAX_HELD_BYTES",
    "Answer",
    "Columns",
    "Label",
    "Record",
    "WordTag",
    "read_records",
]
