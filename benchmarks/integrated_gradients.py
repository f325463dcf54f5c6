"""Integrated gradients by Captum, as `explainers` asks for them."""

from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import LayerIntegratedGradients

from diffmask_training.classifier import load_classifier


def open_captum(
    checkpoint: Path, *, threads: int, steps: int, internal_batch_size: int
) -> Callable[[str], object]:
    """Return what explains one text by integrated gradients.

    Args:
        checkpoint: A classifier.
        threads: Of PyTorch.
        steps: Points on the way from the reference to the text.
        internal_batch_size: Points that share a run.
    """
    torch.set_num_threads(threads)
    classifier = load_classifier(checkpoint)
    model, tokenizer = classifier.encoder.model, classifier.tokenizer
    model.requires_grad_(requires_grad=False)

    def forward(input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(input_ids=input_ids, attention_mask=mask).logits
        return logits

    method = LayerIntegratedGradients(forward, model.get_input_embeddings())

    def explain(text: str) -> object:
        encoded = tokenizer(text, return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        with torch.inference_mode():
            target = int(forward(ids, mask).argmax())
        # Special tokens stay, words become padding: the usual reference input.
        special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
        reference = ids.masked_fill(~special, tokenizer.pad_token_id)
        return method.attribute(
            ids,
            baselines=reference,
            additional_forward_args=(mask,),
            target=target,
            n_steps=steps,
            internal_batch_size=internal_batch_size,
        )

    return explain
