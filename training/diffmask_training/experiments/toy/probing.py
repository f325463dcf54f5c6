"""The probe of the counting model, fitted by the project's own objective.

Nothing here is new: gates, baselines, multipliers and constraint are those of the
package. Both states of every item are masked at every step.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffmask_training.experiments.toy.model import CountingModel, as_two_logits
from diffmask_training.experiments.toy.task import Items
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.lagrangian import Multipliers, NuPI
from diffmask_training.masking import hard_gates, mix, sampled_gates
from diffmask_training.objective import Constraint, mean_over_tokens
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.tasks.task import categorical_divergence

SHAPE = HardConcreteShape()
_NUM_CANDIDATES = 64
_NUM_TRIAL_ITEMS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How the probe is fitted; what is not here has the package's defaults.

    Attributes:
        margin: Allowed mean divergence, nats.
        epochs: Passes over the items.
        batch_size: Items a step.
        learning_rate: Of the networks; falls linearly to a twentieth.
        baseline_learning_rate: Of the baselines; falls likewise.
        bottleneck_size: Width inside a probe's network.
        initial_bias: Gate logit at the start.
        energy_weight: Weight of the mean square of the networks' scores.
        controller: Of the multipliers.
    """

    margin: float = 0.05
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 3e-3
    # At five times this rate, a baseline left its start for a digit of the query in
    # one of three longer runs, and what stood for that digit was then dropped.
    baseline_learning_rate: float = 3e-3
    bottleneck_size: int = 32
    initial_bias: float = 3.0
    energy_weight: float = 0.002
    # From 3, all gates had closed in one of five runs before the price of that had
    # risen, and the baseline had moved to a digit of the query.
    controller: NuPI = field(default_factory=lambda: NuPI(initial=15.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRun:
    """What the frozen model makes of some items; run once, since it never changes.

    Attributes:
        hidden_states: Both states, each `[batch, tokens, hidden]` float32.
        logits: `[batch, 2]` float32. Of both labels.
    """

    hidden_states: tuple[Tensor, ...]
    logits: Tensor

    def __getitem__(self, rows: Tensor) -> "PlainRun":
        """Return the run of some of the items."""
        return PlainRun(
            hidden_states=tuple(state[rows] for state in self.hidden_states),
            logits=self.logits[rows],
        )


@torch.no_grad()
def plain_run(model: CountingModel, items: Items) -> PlainRun:
    """Run a model on items."""
    states = model.hidden_states(items)
    logits = as_two_logits(model.run_from(items, 1, states[1]))
    return PlainRun(hidden_states=states, logits=logits)


def fit_probe(
    model: CountingModel,
    items: Items,
    settings: ProbeSettings,
    *,
    kind: ProbeKind,
    generator: torch.Generator,
) -> Probe:
    """Return a probe fitted on a frozen model.

    Args:
        model: The model.
        items: What the probe learns from; the labels are not looked at.
        settings: How.
        kind: What is masked: the digits' embeddings, or each state itself.
        generator: Source of order and votes.
    """
    plain = plain_run(model, items)
    probe = new_probe(plain, items, settings, kind=kind)
    start_baselines(model, probe, items, plain, generator=generator)
    multipliers = Multipliers(probe.shape.num_states, settings.controller)
    constraint = Constraint(kind="mean", margin=settings.margin, slack=0.0)
    networks = [p for name, p in probe.named_parameters() if name != "baselines"]
    optimizer = torch.optim.AdamW(
        [
            {"params": networks, "lr": settings.learning_rate},
            {"params": [probe.baselines], "lr": settings.baseline_learning_rate},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    num_steps = settings.epochs * -(-len(items) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.05, total_iters=num_steps
    )
    for _ in range(settings.epochs):
        order = torch.randperm(len(items), generator=generator)
        for rows in torch.split(order, settings.batch_size):
            loss = _lagrangian(
                model,
                probe,
                items[rows],
                plain[rows],
                multipliers=multipliers,
                constraint=constraint,
                energy_weight=settings.energy_weight,
                generator=generator,
            )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    probe.requires_grad_(requires_grad=False)
    return probe


@torch.no_grad()
def new_probe(
    plain: PlainRun, items: Items, settings: ProbeSettings, *, kind: ProbeKind
) -> Probe:
    """Return a probe at its start: states standardised, baselines not yet set.

    Args:
        plain: The model's run on the items.
        items: Whose states are measured.
        settings: Sizes of the probe.
        kind: What it masks.
    """
    states = plain.hidden_states
    probe = Probe(
        ProbeShape(
            kind=kind,
            num_states=len(states),
            hidden_size=states[1].shape[-1],
            embedding_size=states[0].shape[-1],
            bottleneck_size=settings.bottleneck_size,
            initial_bias=settings.initial_bias,
        )
    )
    real = items.attention_mask.bool()
    for index, state in enumerate(states):
        tokens = state[real]
        mean, scale = probe.statistics(index)
        mean.copy_(tokens.mean(dim=0))
        scale.fill_(float((tokens - mean).square().mean().sqrt()))
    return probe


@torch.no_grad()
def start_baselines(
    model: CountingModel,
    probe: Probe,
    items: Items,
    plain: PlainRun,
    *,
    generator: torch.Generator,
) -> None:
    """Start each baseline from the state of a token that may stand in for any other.

    Of the states of some tokens, and their mean, the one is taken that changes the
    answers least when it replaces half of all tokens. From the mean alone, which is
    like no state at all, masking harms at first; gates then open until their logits
    have no gradient, and stay open when the baseline has become a good one.

    Args:
        model: The frozen model.
        probe: Its baselines are set in place.
        items: Questions; some of them are used.
        plain: The model's run on them.
        generator: Chooses items, tokens and what is replaced.
    """
    rows = torch.randperm(len(items), generator=generator)[:_NUM_TRIAL_ITEMS]
    items, plain = items[rows], plain[rows]
    real = items.attention_mask.bool()
    is_kept = (torch.rand(real.shape, generator=generator) < 0.5).float()
    for index in range(1 if probe.shape.kind == "input" else probe.shape.num_states):
        tokens = plain.hidden_states[index][real]
        chosen = torch.randperm(len(tokens), generator=generator)[:_NUM_CANDIDATES]
        candidates = [tokens.mean(dim=0), *tokens[chosen]]
        harm = []
        for candidate in candidates:
            probe.baseline(index).copy_(candidate)
            masked = masked_logits(
                model, probe, items, plain, state_index=index, gates=is_kept
            )
            harm.append(float(categorical_divergence(plain.logits, masked).mean()))
        probe.baseline(index).copy_(candidates[harm.index(min(harm))])


def _lagrangian(
    model: CountingModel,
    probe: Probe,
    items: Items,
    plain: PlainRun,
    *,
    multipliers: Multipliers,
    constraint: Constraint,
    energy_weight: float,
    generator: torch.Generator,
) -> Tensor:
    loss = torch.zeros(())
    for index in range(probe.shape.num_states):
        gates = sampled_gates(
            probe,
            plain.hidden_states,
            index,
            SHAPE,
            relaxation="mixed",
            generator=generator,
        )
        masked = masked_logits(
            model, probe, items, plain, state_index=index, gates=gates.values
        )
        found = constraint.bounded(categorical_divergence(plain.logits, masked))
        violation = found - constraint.limit
        loss = loss + mean_over_tokens(gates.keep_probability, items.attention_mask)
        loss = loss + multipliers.values[index] * violation
        loss = loss + energy_weight * mean_over_tokens(
            gates.energy, items.attention_mask
        )
        multipliers.dual_step(index, violation.item())
    return loss / probe.shape.num_states


def masked_logits(
    model: CountingModel,
    probe: Probe,
    items: Items,
    plain: PlainRun,
    *,
    state_index: int,
    gates: Tensor,
) -> Tensor:
    """Return the logits of both labels, `[batch, 2]`, when one state is masked.

    Args:
        model: The frozen model.
        probe: Holds the baselines.
        items: The questions.
        plain: The model's run on them.
        state_index: Whose gates these are.
        gates: `[batch, tokens]` float32 in [0, 1].
    """
    mixed = mix(probe, plain.hidden_states, state_index, gates)
    return as_two_logits(model.run_from(items, probe.site(state_index), mixed))


@torch.no_grad()
def keep_probabilities(
    model: CountingModel, probe: Probe, items: Items, state_index: int
) -> Tensor:
    """Return the gates' keep probabilities at one state, `[batch, tokens]` float32."""
    states = model.hidden_states(items)
    return hard_gates(probe, states, state_index, SHAPE).keep_probability
