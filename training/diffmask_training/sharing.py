"""Who runs which texts of a step: processes at the same time, parts one after another.

Every process draws the same batches, states and noise, and runs its own share of the
texts. What each text came to is exchanged, so that every process sees the figures of
the whole step, and gradients are added up. The result is that of one process, up to the
order in which floats are added.

Gradients are added by hand and not by `DistributedDataParallel`: a probe is called by
its parts, state by state, and which of them have a gradient differs from step to step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, reduce
from torch import Tensor

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where one process's texts stand among all that a part of a step masks at a state.

    Attributes:
        noise: `[rows]` int64. Among the state's texts of the whole step.
        texts: `[rows]` int64. Among this process's texts of the part.
        places: `[rows]` int64. Among the state's texts of the part.
        count: The state's texts of the part, over all processes.
    """

    noise: Tensor
    texts: Tensor
    places: Tensor
    count: int


class Processes:
    """The processes of a fit: one, or as many as `accelerate launch` started.

    Attributes:
        count: How many.
        index: Which one this is.
        device: Where it computes.
    """

    def __init__(self) -> None:
        # Left to itself, it takes processes without an accelerator for lone ones.
        on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU")
        on_cpu = on_cpu or not torch.accelerator.is_available()
        self._state = PartialState(cpu=on_cpu)
        self.count: int = self._state.num_processes
        self.index: int = self._state.process_index
        self.device: torch.device = self._state.device

    @property
    def is_main(self) -> bool:
        """Whether this one writes and prints."""
        return self.index == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.count == 1:
            return values
        total: Tensor = reduce(values, reduction="sum")
        return total

    def made_by_main(self, make: Callable[[], _Made]) -> _Made:
        """Let the main process make something, and hand it to all."""
        if self.count == 1:
            return make()
        made = [make() if self.is_main else None]
        broadcast_object_list(made)
        return made[0]  # type: ignore[return-value]

    def wait(self) -> None:
        """Wait until every process has come here."""
        self._state.wait_for_everyone()

    def exchange(self, values: Tensor, places: Tensor, count: int) -> Tensor:
        """Put figures of own texts among those of all processes.

        Args:
            values: `[..., rows]` float32. Of own texts; gradients reach these alone.
            places: `[rows]` int64. Where they stand among all.
            count: How many there are in all.

        Returns:
            `[..., count]` float32, the same in every process.
        """
        if self.count == 1:
            return values
        own = values.new_zeros(*values.shape[:-1], count).index_copy(-1, places, values)
        rest = self.sum(own.detach()) - own.detach()
        return own + rest

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes, in place."""
        if self.count == 1:
            return
        flags = [float(p.grad is not None) for p in parameters]
        gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in parameters
        ]
        flat = torch.cat(
            [
                torch.tensor(flags, device=self.device),
                *(gradient.flatten() for gradient in gradients),
            ]
        )
        total = self.sum(flat)
        has_gradient, flat = total[: len(flags)], total[len(flags) :]
        pieces = torch.split(flat, [p.numel() for p in parameters])
        for parameter, piece, has in zip(
            parameters, pieces, has_gradient.tolist(), strict=True
        ):
            parameter.grad = piece.view_as(parameter).clone() if has else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """One process's share of every step.

    Attributes:
        num_parts: Parts that a step is run in.
        num_processes: Processes that run each part.
        process_index: Which one this is.
    """

    num_parts: int
    num_processes: int
    process_index: int

    @property
    def _stride(self) -> int:
        return self.num_parts * self.num_processes

    def texts(self, num_texts: int, part: int) -> Tensor:
        """Return `[rows]` int64: this process's texts of one part of a step."""
        first = part * self.num_processes + self.process_index
        return torch.arange(min(first, num_texts), num_texts, self._stride)

    def rows(self, texts: Tensor, part: int) -> Rows:
        """Find this process's texts among those that are masked at one state.

        Args:
            texts: `[rows]` int64. The state's texts of the whole step.
            part: Which part of the step.
        """
        slots = texts % self._stride
        in_part = (slots // self.num_processes == part).nonzero().squeeze(-1)
        slots = slots[in_part]
        own = slots % self.num_processes == self.process_index
        places = own.nonzero().squeeze(-1)
        noise = in_part[places]
        return Rows(
            noise=noise,
            texts=texts[noise] // self._stride,
            places=places,
            count=len(in_part),
        )
