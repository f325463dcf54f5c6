"""Settings of the server; the only reader of flags and environment.

A setting is one name in three spellings: the field `queue_tokens`, the flag
`--queue-tokens`, the variable `DIFFMASK_QUEUE_TOKENS`. A flag beats a variable, a
variable the default.
"""

from diffmask_service.config.reading import (
    add_flags,
    format_config,
    read_config,
    shown_default,
    wrong_settings,
)
from diffmask_service.config.service import ServiceConfig

__all__ = [
    "ServiceConfig",
    "add_flags",
    "format_config",
    "read_config",
    "shown_default",
    "wrong_settings",
]
