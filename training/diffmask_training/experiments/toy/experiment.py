"""Table 1 and the data of figures 3 and 11, one seed at a time."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmask_training.experiments.results import one_thread, run_units
from diffmask_training.experiments.toy import explainers
from diffmask_training.experiments.toy.model import (
    STATES,
    CountingModel,
    accuracy,
    train,
)
from diffmask_training.experiments.toy.probing import (
    ProbeSettings,
    fit_probe,
    keep_probabilities,
    masked_logits,
    plain_run,
)
from diffmask_training.experiments.toy.published import (
    PublishedSettings,
    fit_as_published,
)
from diffmask_training.experiments.toy.scores import divergences, normalised
from diffmask_training.experiments.toy.task import (
    Items,
    draw_items,
    is_queried,
    make_items,
)
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import Probe, ProbeKind

_HIDDEN = 1
_KINDS: tuple[ProbeKind, ...] = ("input", "hidden")
_NUM_DRAWN_STATES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyExperiment:
    """Questions, and the model that learns to answer them.

    Attributes:
        to: Folder of the results; a seed that is finished there is not run again.
        seeds: Independent runs; runs of the same seed share data and model.
        trial: Name of a trial of other settings, which goes to a file of its own.
        num_items: Questions drawn; a tenth is for testing.
        epochs: Of the model.
    """

    to: Path = Path("docs/results")
    seeds: int = 5
    trial: str = ""
    num_items: int = 10_000
    epochs: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeExperiment(ToyExperiment):
    """Explain a counting model, whose explanations are known, by our probes.

    Attributes:
        probe: How they are fitted.
    """

    probe: ProbeSettings = field(default_factory=ProbeSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class OthersExperiment(ToyExperiment):
    """Explain the same model by the methods that the paper compares with.

    Attributes:
        num_steps: Of integrated gradients, Schulz et al. and Guan et al.
    """

    num_steps: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedExperiment(ToyExperiment):
    """Explain the same model by a probe fitted the way the authors published it.

    Attributes:
        probe: How it is fitted.
    """

    probe: PublishedSettings = field(default_factory=PublishedSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToySetting:
    """What is explained.

    Attributes:
        model: The frozen model.
        train: Items it was trained on.
        test: Items it is explained on.
        generator: Source of all further randomness.
    """

    model: CountingModel
    train: Items
    test: Items
    generator: torch.Generator


def run_probe(experiment: ProbeExperiment) -> None:
    """Run what is not finished yet."""
    _run("toy", experiment, partial(_explain_by_probe, experiment.probe))


def run_others(experiment: OthersExperiment) -> None:
    """Run what is not finished yet."""
    _run("toy-others", experiment, partial(_explain_by_others, experiment.num_steps))


def run_published(experiment: PublishedExperiment) -> None:
    """Run what is not finished yet."""
    _run("toy-published", experiment, partial(_explain_as_published, experiment.probe))


def _run(
    name: str,
    experiment: ToyExperiment,
    explain: Callable[[ToySetting], Mapping[str, Any]],
) -> None:
    settings = dataclasses.asdict(experiment)
    # None of these changes what is found for one seed.
    for option in ("to", "seeds", "trial"):
        del settings[option]

    def unit(seed: int) -> Mapping[str, Any]:
        setting = make_setting(
            seed, num_items=experiment.num_items, epochs=experiment.epochs
        )
        accuracy_found = accuracy(setting.model, setting.test)
        return {"accuracy": accuracy_found, **explain(setting)}

    units = {f"seed-{seed}": partial(unit, seed) for seed in range(experiment.seeds)}
    if experiment.trial:
        name = f"{name}.{experiment.trial}"
    with one_thread():
        run_units(name, settings, units, directory=experiment.to)


def make_setting(seed: int, *, num_items: int, epochs: int) -> ToySetting:
    """Draw questions and train a model to answer them.

    Args:
        seed: Of everything.
        num_items: Questions drawn; a tenth is for testing.
        epochs: Of the model.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    items = draw_items(num_items, generator)
    num_train = num_items - num_items // 10
    model = CountingModel()
    train(
        model,
        items[slice(0, num_train)],
        epochs=epochs,
        batch_size=128,
        learning_rate=1e-3,
        entropy_weight=0.35,
        generator=generator,
    )
    return ToySetting(
        model=model,
        train=items[slice(0, num_train)],
        test=items[slice(num_train, None)],
        generator=generator,
    )


def _explain_by_probe(
    settings: ProbeSettings, setting: ToySetting
) -> Mapping[str, Any]:
    probes = {
        kind: fit_probe(
            setting.model,
            setting.train,
            settings,
            kind=kind,
            generator=setting.generator,
        )
        for kind in _KINDS
    }
    example = example_items()
    return {
        **_hidden_figures("diffmask", setting, probes["hidden"]),
        "example": _as_example(
            {
                f"diffmask_{state}": keep_probabilities(
                    setting.model, probes["input"], example, index
                )
                for index, state in enumerate(STATES)
            }
        ),
        "states": _states(setting),
    }


def _explain_as_published(
    settings: PublishedSettings, setting: ToySetting
) -> Mapping[str, Any]:
    probe = fit_as_published(
        setting.model, setting.train, settings, generator=setting.generator
    )
    return _hidden_figures("diffmask_published", setting, probe)


def _explain_by_others(num_steps: int, setting: ToySetting) -> Mapping[str, Any]:
    others = partial(_others, setting, num_steps=num_steps)
    return {
        "divergences": {
            name: _divergences(attribution, setting.test)
            for name, attribution in others(setting.test, state_index=_HIDDEN).items()
        },
        "example": _as_example(others(example_items(), state_index=0)),
    }


def _others(
    setting: ToySetting, items: Items, *, num_steps: int, state_index: int
) -> dict[str, Tensor]:
    options: dict[str, Any] = {"state_index": state_index, "num_steps": num_steps}
    model, generator = setting.model, setting.generator
    return {
        "exact_erasure": explainers.exact_erasure(items),
        "integrated_gradients": explainers.integrated_gradients(
            model, items, **options
        ),
        "schulz": explainers.schulz(
            model, items, setting.train, **options, generator=generator
        ),
        "guan": explainers.guan(model, items, **options, generator=generator),
    }


def _divergences(attribution: Tensor, items: Items) -> dict[str, float | None]:
    kl, jensen_shannon = (float(d.mean()) for d in divergences(attribution, items))
    # An infinite divergence has no place in JSON.
    return {"kl": None if math.isinf(kl) else kl, "js": jensen_shannon}


def _hidden_figures(name: str, setting: ToySetting, probe: Probe) -> dict[str, Any]:
    items = setting.test
    real, queried = items.attention_mask.bool(), is_queried(items)
    keep = keep_probabilities(setting.model, probe, items, _HIDDEN)
    hard = (keep >= HARD_MASK_THRESHOLD).float()
    plain = plain_run(setting.model, items)
    masked = masked_logits(
        setting.model, probe, items, plain, state_index=_HIDDEN, gates=hard
    )
    is_kept = masked.argmax(dim=-1) == plain.logits.argmax(dim=-1)
    return {
        "divergences": {name: _divergences(keep, items)},
        "probe": {
            "agreement": float(is_kept.float().mean()),
            "kept_share": float(hard[real].mean()),
            "keep_probability_of_queried": float(keep[queried].mean()),
            "keep_probability_of_others": float(keep[real & ~queried].mean()),
        },
    }


def _as_example(attributions: Mapping[str, Tensor]) -> dict[str, list[float]]:
    items = example_items()
    return {
        name: normalised(attribution, items)[0].tolist()
        for name, attribution in attributions.items()
    }


def example_items() -> Items:
    """Return the question of figure 3: are there more 8s than 1s in 8 8 3 1 3 9?"""
    return make_items(
        torch.tensor([[8, 1]]), torch.tensor([[8, 8, 3, 1, 3, 9]]), torch.tensor([6])
    )


def _states(setting: ToySetting) -> dict[str, list[list[float]]]:
    """Some states of each of three roles, which is figure 11."""
    items = setting.test
    states = setting.model.hidden_states(items)[_HIDDEN]
    real = items.attention_mask.bool()
    roles = {
        "first": (items.digits == items.queries[:, :1]) & real,
        "second": (items.digits == items.queries[:, 1:]) & real,
        "neither": real & ~is_queried(items),
    }
    return {
        role: [
            [round(float(x), 3) for x in state]
            for state in states[where][:_NUM_DRAWN_STATES]
        ]
        for role, where in roles.items()
    }
