"""Settings of every command: frozen values, alike as flags and in recipes.

A flag goes before a recipe, a recipe before the defaults.
"""

from diffmask_training.config.fitting import FitConfig
from diffmask_training.config.measuring import (
    SHORTCUT_KINDS,
    Comparator,
    EvaluateConfig,
    RandomiseConfig,
    RefineConfig,
    ShortcutConfig,
    ShortcutKind,
)
from diffmask_training.config.presets import describe_presets
from diffmask_training.config.recipes import from_tables, read_recipe
from diffmask_training.config.settings import (
    DataConfig,
    ExportConfig,
    FinetuneConfig,
    Precision,
    PrecisionChoice,
    VerifyConfig,
)

__all__ = [
    "SHORTCUT_KINDS",
    "Comparator",
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FitConfig",
    "Precision",
    "PrecisionChoice",
    "RandomiseConfig",
    "RefineConfig",
    "ShortcutConfig",
    "ShortcutKind",
    "VerifyConfig",
    "describe_presets",
    "from_tables",
    "read_recipe",
]
