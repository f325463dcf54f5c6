"""Named tables of settings, which recipes and flags override.

`paper` is what the paper's code trains SST with: De Cao et al. 2020 and their
repository at its last commit. What remains different under it: the states are
standardised before a network reads them, one run serves both steps of a round where
their loop makes two, a hidden baseline starts from its mean over texts of [MASK], the
baselines are learned (in their code by a switch that is off by default), the first
round of Lookahead counts, and epochs are chosen by hard masks of every state.
"""

from collections.abc import Mapping
from typing import Any, Literal

PresetName = Literal["none", "paper"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "paper": {
        "margin": 0.1,
        "constraint": "mean",
        "sparsity": "logarithmic",
        "aim": 1.0,
        "pacing": False,
        "energy_weight": 0.0,
        "dual": "rmsprop",
        "integral": 0.3,
        "smoothing": 0.99,
        "initial_multiplier": 1.0,
        "min_multiplier": 0.0,
        "max_multiplier": 200.0,
        "optimizer": "rmsprop",
        "learning_rate": 3e-4,
        "baseline_learning_rate": 1e-3,
        "final_rate": 1.0,
        "warmup_steps": 1200,
        "lookahead": 6,
        "max_gradient_norm": 0.0,
        "relaxation": "soft",
        "epochs": 300,
        "epoch_steps": 0,
        "precision": "fp32",
        "batch_size": 64,
        "dealing": "single",
        "initial_bias": 5.0,
        "calibrate": False,
    },
}


def describe_presets() -> str:
    """Return what each preset sets, for `--help`."""
    lines = []
    for name, table in PRESETS.items():
        settings = ", ".join(f"{key} {value}" for key, value in table.items())
        if settings:
            lines.append(f"--preset {name}: {settings}")
    return "\n".join(lines)
