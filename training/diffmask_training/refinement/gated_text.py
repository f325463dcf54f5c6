"""One text, and what the model makes of it behind gates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.probes import ProbeKind
from diffmask_training.tasks.task import categorical_divergence

# Masks that share a run of the model while they are tried.
_TRIED_AT_ONCE = 64


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


class GatedText:
    """One text, its states, and the model as a function of gates on them.

    Args:
        classifier: The frozen model.
        encoding: The text.
        kind: What the gates mask.

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
