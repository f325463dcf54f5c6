"""The masked runs of one step: which texts are masked where, and what they come to.

Part of the step is run by each process, and a part after another; the figures are those
of the whole step.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from diffmask_training.batches import TensorBatch
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.masked_runs import MaskedRuns, Masking, TextFigures
from diffmask_training.masking import draw_noise
from diffmask_training.pacing import Pacing
from diffmask_training.probes import Probe
from diffmask_training.sharing import Processes, Rows, Sharing
from diffmask_training.stopwatch import Stopwatch


class DealtRuns:
    """Deals states to texts and runs them.

    Attributes:
        generator: Source of all randomness: order, which text is masked at which
            state, votes. The same in every process.
    """

    def __init__(
        self,
        config: FitConfig,
        encoder: Encoder,
        probe: Probe,
        *,
        pacing: Pacing,
        processes: Processes,
        stopwatch: Stopwatch,
        runs: type[MaskedRuns],
    ) -> None:
        self.generator = torch.Generator().manual_seed(config.seed)
        self._config = config
        self._encoder = encoder
        self._probe = probe
        self._pacing = pacing
        self._processes = processes
        self._stopwatch = stopwatch
        self._runs = runs(
            encoder,
            probe,
            relaxation=config.relaxation,
            sparsity=config.sparsity,
            with_complement=config.complement_weight > 0,
        )
        self._sharing = Sharing(
            num_parts=config.accumulation,
            num_processes=processes.count,
            process_index=processes.index,
        )

    def deal(self, batch: TensorBatch) -> list[Masking]:
        """Draw which texts of a step are masked at which states, and their noise."""
        num_texts, num_tokens = batch.attention_mask.shape
        if self._config.dealing == "single":
            texts_by_state = self._pacing.deal_single(num_texts, self.generator)
        else:
            texts_by_state = self._pacing.deal(
                num_texts, self._config.states_per_text, self.generator
            )
        return [
            Masking(
                state_index=index,
                texts=texts,
                noise=draw_noise(
                    self._probe,
                    index,
                    num_texts=len(texts),
                    num_tokens=num_tokens,
                    generator=self.generator,
                ),
            )
            for index, texts in texts_by_state.items()
        ]

    def run_part(
        self, batch: TensorBatch, dealt: Sequence[Masking], part: int
    ) -> dict[int, TextFigures]:
        """Run this process's texts of one part of a step.

        Returns:
            Figures of all processes' texts of the part, by state; gradients reach those
            of this process.
        """
        own = batch.rows(self._sharing.texts(len(batch.attention_mask), part))
        inputs = own.to(self._processes.device).inputs
        rows = {m.state_index: self._sharing.rows(m.texts, part) for m in dealt}
        maskings = [
            Masking(
                state_index=m.state_index,
                texts=rows[m.state_index].texts,
                noise=m.noise.rows(rows[m.state_index].noise),
            )
            for m in dealt
            if len(rows[m.state_index].texts)
        ]
        figures: list[TextFigures] = []
        if maskings:
            with self._stopwatch.stage("capture"), torch.no_grad():
                captured = self._encoder.capture(inputs)
            with self._stopwatch.stage("masked forward"):
                figures = self._runs.run(inputs, captured, maskings)
        own_by_state = {
            m.state_index: f.stacked() for m, f in zip(maskings, figures, strict=True)
        }
        return self._exchanged(own_by_state, rows)

    def _exchanged(
        self, own_by_state: Mapping[int, Tensor], rows_by_state: Mapping[int, Rows]
    ) -> dict[int, TextFigures]:
        places: list[Tensor] = []
        values: list[Tensor] = []
        counts: list[int] = []
        for index, rows in rows_by_state.items():
            places.append(rows.places + sum(counts))
            counts.append(rows.count)
            if index in own_by_state:
                values.append(own_by_state[index])
        device = self._processes.device
        whole = self._processes.exchange(
            torch.cat(values, dim=-1) if values else torch.zeros(5, 0, device=device),
            torch.cat(places).to(device),
            sum(counts),
        )
        return {
            index: TextFigures.unstacked(figures)
            for index, figures in zip(
                rows_by_state, torch.split(whole, counts, dim=-1), strict=True
            )
            if figures.shape[-1]
        }
