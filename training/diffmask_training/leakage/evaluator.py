"""Evaluators: copies of the classifier fine-tuned on masked texts.

An evaluator is told the label that the explained model predicts from the whole text and
reads the masked one. Fitted to random masks, it knows what the words that are left say
and nothing of the explainer. Fitted to the explainer's own masks, it also learns what
the choice of those words says.

Source: Jethani et al. 2021, "Have We Learned to Explain?", EVAL-X. Deviation: a copy of
the explained model is fine-tuned, not a new one trained, so that few texts are enough.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.encoder import Encoder
from diffmask_training.explained import ExplainedText

# Draws the mask of one text, `[tokens]` bool, True where a token is kept.
DrawMask = Callable[[ExplainedText, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """How an evaluator is fine-tuned.

    Attributes:
        epochs: Passes over the texts; each draws new masks.
        batch_size: Texts a step.
        learning_rate: Peak of the linear schedule.
        seed: Of order and masks.
    """

    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 3e-5
    seed: int = 0


def fit_evaluator(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    draw: DrawMask,
    *,
    baseline: Tensor,
    settings: EvaluatorSettings,
) -> Encoder:
    """Fine-tune a copy of a classifier on masked texts.

    Args:
        classifier: What is copied; stays as it is.
        texts: With the labels that the explained model predicts.
        draw: The masks.
        baseline: `[hidden]` float32. Stands for what a mask removes.
        settings: How.

    Returns:
        The copy, frozen.
    """
    encoder = Encoder(copy.deepcopy(classifier.encoder.model))
    model = encoder.model.requires_grad_(requires_grad=True).train()
    generator = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)  # of dropout
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    num_batches = -(-len(texts) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer,
        start_factor=1.0,
        end_factor=0.05,
        total_iters=num_batches * settings.epochs,
    )
    pad_id = classifier.tokenizer.pad_token_id
    for _ in range(settings.epochs):
        order = torch.randperm(len(texts), generator=generator).tolist()
        for start in range(0, len(order), settings.batch_size):
            chosen = [texts[i] for i in order[start : start + settings.batch_size]]
            masks = [draw(text, generator) for text in chosen]
            logits = masked_run(
                encoder, chosen, masks, baseline=baseline, pad_id=pad_id
            )
            labels = torch.tensor([text.label for text in chosen])
            torch.autograd.backward(functional.cross_entropy(logits, labels))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    encoder.model.requires_grad_(requires_grad=False).train(mode=False)
    return encoder


def masked_run(
    encoder: Encoder,
    texts: Sequence[ExplainedText],
    masks: Sequence[Tensor],
    *,
    baseline: Tensor,
    pad_id: int,
) -> Tensor:
    """Return the logits of masked texts, `[batch, labels]` float32.

    Args:
        encoder: Any model.
        texts: The texts.
        masks: `[tokens]` bool for each, True where a token is kept.
        baseline: `[hidden]` float32. Stands for what a mask removes.
        pad_id: Vocabulary index of the padding token.
    """
    batch = collate([text.encoding for text in texts], pad_id=pad_id)
    keep = torch.zeros(batch.attention_mask.shape, dtype=torch.bool)
    for row, mask in enumerate(masks):
        keep[row, : len(mask)] = mask
    words = encoder.model.get_input_embeddings().weight[batch.inputs["input_ids"]]
    mixed = torch.where(keep.unsqueeze(-1), words.float(), baseline)
    return encoder.run_from(batch.inputs, 0, mixed)


def random_mask(text: ExplainedText, generator: torch.Generator) -> Tensor:
    """Draw a mask that keeps each token with a chance that is itself drawn evenly."""
    rate = torch.rand((), generator=generator)
    return torch.rand(len(text.tokens), generator=generator) >= rate


def explained_mask(text: ExplainedText, generator: torch.Generator) -> Tensor:
    """Draw one of the explainer's masks: of the score, or of any of the states.

    The more a mask drops, the likelier it is drawn: one that keeps the whole text has
    nothing to encode.
    """
    masks = np.concatenate([text.score_mask[None], text.hard_masks("input")])
    dropped = torch.from_numpy((~masks).mean(axis=1))
    if not dropped.any():
        return torch.from_numpy(masks[0])
    return torch.from_numpy(
        masks[int(torch.multinomial(dropped, 1, generator=generator))]
    )
