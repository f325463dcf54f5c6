"""The paper's tables and figures, measured again; left out of the wheel.

Each experiment is one command, goes on from its last finished unit when it was
interrupted, and leaves a JSON file; the tables and figures of `RESULTS.md` are written
from those files by another command and by nothing else.
"""
