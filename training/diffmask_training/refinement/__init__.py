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

from diffmask_training.refinement.baselines import BaselineChoice
from diffmask_training.refinement.gated_text import JudgedMask
from diffmask_training.refinement.optimising import RefinementSettings
from diffmask_training.refinement.refine import Refinement, judge_masks, refine

__all__ = [
    "BaselineChoice",
    "JudgedMask",
    "Refinement",
    "RefinementSettings",
    "judge_masks",
    "refine",
]
