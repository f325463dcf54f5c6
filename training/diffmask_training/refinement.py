"""Gates for one text alone: what a probe approximates, found by optimisation.

A probe answers for all texts at once and is now and then wrong about one. Here the gate
logits of one text are free parameters under the probe's own objective: few open gates,
divergence within the margin, a multiplier moved by the same controller. Then masks are
tightened by trial: gates are only a way to a mask, and whether a mask meets the margin
can be asked of the model. It serves texts whose hard mask breaks the margin, tells how
much the probe gives away (the amortisation gap), and with other baselines it is the
paper's ablation.

Source: De Cao et al. 2020, appendix D.2 and figure 12: with a baseline learned for the
text, gates close everywhere, since that vector carries the answer; without a learned
one, they show no pattern. Deviation: the trial at the end, which can be left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)
from diffmask_training.lagrangian import Multipliers, NuPI
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.probes import Probe, ProbeKind
from diffmask_training.tasks.task import categorical_divergence

# `probe` takes the probe's learned vectors, `own` learns one for this text and state.
BaselineChoice = Literal["probe", "mask", "zero", "own"]
# Masks that share a run of the model while they are tried.
_TRIED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementSettings:
    """How gates are found.

    Attributes:
        margin: Allowed divergence, nats, > 0.
        baseline: What takes a masked token's place.
        steps: Of the optimiser.
        samples: Sampled masks a step, beside the hard one.
        learning_rate: Of the gate logits.
        baseline_learning_rate: Of a baseline of the text's own.
        initial_logit: Of every gate.
        controller: Of the multipliers.
        is_tightened: Whether the masks found are tightened by trial, which also makes
            them keep to the margin.
        seed: Of the samples.
    """

    margin: float = 0.1
    baseline: BaselineChoice = "probe"
    steps: int = 150
    samples: int = 4
    learning_rate: float = 0.1
    baseline_learning_rate: float = 0.02
    initial_logit: float = 2.0
    controller: NuPI = field(default_factory=NuPI)
    is_tightened: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedMask:
    """What one mask does to the prediction of one text.

    Attributes:
        state: Name of the masked state.
        keep: `[tokens]` bool. The mask.
        divergence: From the prediction of the whole to that of the kept tokens, nats.
        is_agreeing: Whether the kept tokens alone give the label.
    """

    state: str
    keep: NDArray[np.bool_]
    divergence: float
    is_agreeing: bool

    @property
    def kept_share(self) -> float:
        """Share of the tokens that are kept, special ones counted."""
        return float(self.keep.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement(JudgedMask):
    """The gates found for one text at one state, and their mask.

    Where it was tightened, the mask is not only the keep probabilities' own.

    Attributes:
        keep_probability: `[tokens]` float64 in (0, 1). As the optimiser left it.
        multiplier: At the end.
        baseline: `[hidden]` float32. What took the place of what is masked.
    """

    keep_probability: NDArray[np.float64]
    multiplier: float
    baseline: NDArray[np.float32]


def refine(
    classifier: Classifier,
    encoding: Encoding,
    *,
    kind: ProbeKind,
    settings: RefinementSettings,
    probe: Probe | None = None,
    known: NDArray[np.bool_] | None = None,
) -> tuple[Refinement, ...]:
    """Find gates for one text.

    Args:
        classifier: The frozen model.
        encoding: The text.
        kind: What is masked. Input gates of one text need no state to be read from, so
            there is one set of them; hidden gates have one for each state.
        settings: How.
        probe: Of that kind; needed for its baselines.
        known: `[masks, tokens]` bool for input gates, `[layers, tokens]` for hidden
            ones: masks to start from where tightening finds none smaller. With the
            probe's masks, one that keeps to the margin is never made larger.

    Returns:
        One entry for input gates, one for each state for hidden gates.

    Raises:
        ConfigError: The baseline cannot be had.
    """
    problem = _Problem(classifier, encoding, kind)
    baselines = _baselines(classifier, problem, probe, settings.baseline)
    logits, multipliers = _optimise(problem, baselines, settings)
    probabilities = log_keep_probability(logits.detach(), HardConcreteShape()).exp()
    refinements = []
    for group, learned in enumerate(baselines):
        baseline = learned.detach()
        chances = probabilities[group].double().numpy()
        keep = chances >= HARD_MASK_THRESHOLD
        if settings.is_tightened:
            others = np.empty((0, len(keep)), dtype=np.bool_)
            if known is not None:
                others = known[group : group + 1] if kind == "hidden" else known
            keep = _tightened(
                problem, group, baseline, chances, others, margin=settings.margin
            )
        judged = problem.judge(group, keep, baseline)
        refinements.append(
            Refinement(
                state=judged.state,
                keep=keep,
                divergence=judged.divergence,
                is_agreeing=judged.is_agreeing,
                keep_probability=chances,
                multiplier=multipliers.values[group],
                baseline=baseline.numpy(),
            )
        )
    return tuple(refinements)


def judge_masks(
    classifier: Classifier,
    encoding: Encoding,
    masks: NDArray[np.bool_],
    *,
    probe: Probe,
) -> tuple[JudgedMask, ...]:
    """Run a text under a probe's masks, with the probe's own baselines.

    Args:
        classifier: The frozen model.
        encoding: The text.
        masks: `[masks, tokens]` bool. One for input gates, one for each state for
            hidden gates.
        probe: Whose kind and baselines.
    """
    problem = _Problem(classifier, encoding, probe.shape.kind)
    baselines = _baselines(classifier, problem, probe, "probe")
    return tuple(
        problem.judge(group, keep, baseline)
        for group, (keep, baseline) in enumerate(zip(masks, baselines, strict=True))
    )


class _Problem:
    """One text, its states, and the model as a function of gates on them.

    Attributes:
        sites: Index of each masked state; a group of gates stands for each.
        num_tokens: Tokens of the text.
        states: Of each group, `[tokens, hidden]` float32.
    """

    @torch.no_grad()
    def __init__(
        self, classifier: Classifier, encoding: Encoding, kind: ProbeKind
    ) -> None:
        self._encoder = classifier.encoder
        pad_id = classifier.tokenizer.pad_token_id
        self._inputs = collate([encoding], pad_id=pad_id).inputs
        captured = self._encoder.capture(self._inputs)
        self._logits = captured.logits.float()
        self.sites = (0,) if kind == "input" else tuple(range(self._encoder.num_states))
        self.num_tokens = len(encoding.input_ids)
        self.states = [captured.hidden_states[site][0].float() for site in self.sites]

    def divergences(self, gates: Tensor, baselines: Sequence[Tensor]) -> Tensor:
        """Return the divergence of every mask, `[groups, masks]`, nats.

        Args:
            gates: `[groups, masks, tokens]` float32 in [0, 1].
            baselines: Of each group, `[hidden]` float32.
        """
        mixed = {
            site: _mixed(state, gate, baseline)
            for site, state, gate, baseline in zip(
                self.sites, self.states, gates, baselines, strict=True
            )
        }
        logits = self._run(mixed, gates.shape[0] * gates.shape[1])
        plain = self._logits.expand_as(logits)
        return categorical_divergence(plain, logits).view(gates.shape[:2])

    @torch.no_grad()
    def try_masks(
        self, group: int, masks: NDArray[np.bool_], baseline: Tensor
    ) -> NDArray[np.float64]:
        """Return the divergence of some masks of one group, `[masks]`, nats."""
        found = []
        for part in torch.split(torch.from_numpy(masks).float(), _TRIED_AT_ONCE):
            mixed = {self.sites[group]: _mixed(self.states[group], part, baseline)}
            logits = self._run(mixed, len(part))
            plain = self._logits.expand_as(logits)
            found.append(categorical_divergence(plain, logits))
        distances: NDArray[np.float64] = torch.cat(found).double().numpy()
        return np.maximum(distances, 0.0)

    @torch.no_grad()
    def judge(
        self, group: int, keep: NDArray[np.bool_], baseline: Tensor
    ) -> JudgedMask:
        """Run one mask of one group."""
        gates = torch.from_numpy(keep[None]).float()
        mixed = {self.sites[group]: _mixed(self.states[group], gates, baseline)}
        logits = self._run(mixed, 1)
        return JudgedMask(
            state=self._encoder.states[self.sites[group]],
            keep=keep,
            divergence=max(0.0, float(categorical_divergence(self._logits, logits))),
            is_agreeing=bool(logits.argmax() == self._logits.argmax()),
        )

    def _run(self, mixed: dict[int, Tensor], rows: int) -> Tensor:
        inputs = {name: value.expand(rows, -1) for name, value in self._inputs.items()}
        return self._encoder.run_from_each(inputs, mixed)


def _mixed(state: Tensor, gates: Tensor, baseline: Tensor) -> Tensor:
    gate = gates.unsqueeze(-1)  # [masks, tokens, 1]
    return gate * state + (1 - gate) * baseline


def _baselines(
    classifier: Classifier,
    problem: _Problem,
    probe: Probe | None,
    choice: BaselineChoice,
) -> list[Tensor]:
    sites = problem.sites
    if choice == "probe":
        if probe is None:
            raise ConfigError("the probe's baselines need a probe; or choose another")
        return [probe.baseline(site).detach() for site in sites]
    if choice == "zero":
        return [torch.zeros(state.shape[-1]) for state in problem.states]
    if choice == "own":
        return [torch.nn.Parameter(state.mean(dim=0)) for state in problem.states]
    if sites != (0,):
        raise ConfigError(
            "[MASK] is a word and stands for no hidden state; choose the baseline"
            " 'probe', 'zero' or 'own' for hidden gates"
        )
    words = classifier.encoder.model.get_input_embeddings().weight
    return [words[classifier.tokenizer.mask_token_id].detach().float()]


def _optimise(
    problem: _Problem, baselines: Sequence[Tensor], settings: RefinementSettings
) -> tuple[Tensor, Multipliers]:
    shape = HardConcreteShape()
    num_groups = len(problem.sites)
    logits = torch.full(
        (num_groups, problem.num_tokens), settings.initial_logit, requires_grad=True
    )
    learned = [baseline for baseline in baselines if baseline.requires_grad]
    optimizer = torch.optim.Adam(
        [
            {"params": [logits], "lr": settings.learning_rate},
            {"params": learned, "lr": settings.baseline_learning_rate},
        ]
    )
    multipliers = Multipliers(num_groups, settings.controller)
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.steps):
        chances = log_keep_probability(logits, shape).exp()  # [groups, tokens]
        drawn = logits.unsqueeze(1).expand(-1, settings.samples, -1)
        soft = sample(drawn, shape, generator)
        hard = (chances >= HARD_MASK_THRESHOLD).float() + chances - chances.detach()
        gates = torch.cat([hard.unsqueeze(1), soft], dim=1)
        distances = problem.divergences(gates, baselines)
        # Half of the weight on what will be used, half on what has gradients all over.
        distance = (distances[:, 0] + distances[:, 1:].mean(dim=1)) / 2
        weights = torch.tensor(multipliers.values)
        loss = chances.mean(dim=1) + weights * (distance - settings.margin)
        optimizer.zero_grad()
        torch.autograd.backward(loss.sum())
        optimizer.step()
        for group, violation in enumerate((distance - settings.margin).tolist()):
            multipliers.dual_step(group, violation)
    return logits, multipliers


def _tightened(
    problem: _Problem,
    group: int,
    baseline: Tensor,
    chances: NDArray[np.float64],
    others: NDArray[np.bool_],
    *,
    margin: float,
) -> NDArray[np.bool_]:
    """Return a small mask within the margin, in which no token can be spared.

    The candidates are the tops of the order of the keep probabilities, whose largest is
    the whole text and always within the margin, and the masks known besides. From the
    smallest, tokens are dropped one by one, the cheapest first.
    """
    places = np.argsort(np.argsort(-chances, kind="stable"), kind="stable")
    tops = places < np.arange(len(chances) + 1)[:, None]
    candidates = np.concatenate([others, tops])
    distances = problem.try_masks(group, candidates, baseline)
    # The whole text diverges by rounding alone, and must not fail a tiny margin.
    distances[-1] = 0.0
    within = candidates[distances <= margin]
    keep: NDArray[np.bool_] = within[within.sum(axis=1).argmin()].copy()
    while keep.any():
        kept = np.flatnonzero(keep)
        fewer = np.repeat(keep[None], len(kept), axis=0)
        fewer[np.arange(len(kept)), kept] = False
        distances = problem.try_masks(group, fewer, baseline)
        if distances.min() > margin:
            break
        keep = fewer[distances.argmin()]
    return keep
