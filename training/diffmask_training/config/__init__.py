"""Settings of every command: frozen values, alike as flags and in recipes.

A flag goes before a recipe, a recipe before the defaults.
"""

from diffmask_training.config.fitting import FitConfig
from diffmask_training.config.recipes import from_tables, read_recipe
from diffmask_training.config.settings import (
    DataConfig,
    EvaluateConfig,
    ExportConfig,
    FinetuneConfig,
    Precision,
    VerifyConfig,
)

__all__ = [
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FitConfig",
    "Precision",
    "VerifyConfig",
    "from_tables",
    "read_recipe",
]
