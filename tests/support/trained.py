"""A tiny classifier that has learned its task, in a few seconds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.encoding import encode
from diffmask_training.records import Columns, Record, read_records
from tests.support.checkpoint import BAD, FILLERS, GOOD, write_checkpoint


def trained_classifier(directory: Path) -> Classifier:
    """Write a tiny classifier, train it on sentences and return it.

    Args:
        directory: Where to; it is saved there as trained.
    """
    classifier = load_classifier(write_checkpoint(directory))
    train(classifier, encodings_of_records(classifier, scattered_records(400, seed=0)))
    classifier.encoder.model.save_pretrained(directory)
    return classifier


def scattered_records(num_texts: int, *, seed: int) -> list[Record]:
    """Return sentences with one telling word, whose place says nothing of the label."""
    generator = np.random.default_rng(seed)
    records = []
    for _ in range(num_texts):
        label = int(generator.integers(2))
        words = generator.choice(FILLERS, size=generator.integers(3, 8)).tolist()
        telling = str(generator.choice(GOOD if label else BAD))
        words.insert(int(generator.integers(len(words) + 1)), telling)
        records.append(Record(text=" ".join(words) + " .", label=label))
    return records


def encodings_of(classifier: Classifier, path: Path) -> list[Encoding]:
    """Return the texts of a file as a classifier reads them."""
    records = read_records(path, labels=classifier.labels, columns=Columns())
    return encodings_of_records(classifier, records)


def encodings_of_records(
    classifier: Classifier, records: Sequence[Record]
) -> list[Encoding]:
    """Return records as a classifier reads them."""
    task = classifier.encoder.task
    return encode(records, classifier.tokenizer, 64, task=task)


def train(
    classifier: Classifier,
    encodings: Sequence[Encoding],
    *,
    steps: int = 300,
) -> None:
    """Fine-tune a classifier in place.

    Each text loses words to [MASK] at a rate from 0 to 1, so that masked texts are
    nothing new to it and one without a word is either label to it.

    Args:
        classifier: What is trained; frozen again in the end.
        encodings: Labelled texts.
        steps: Of 32 texts.
    """
    model = classifier.encoder.model.requires_grad_(requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    tokenizer = classifier.tokenizer
    for _ in range(steps):
        chosen = torch.randint(len(encodings), (32,), generator=generator).tolist()
        batch = collate([encodings[i] for i in chosen], pad_id=tokenizer.pad_token_id)
        ids = batch.inputs["input_ids"]
        rates = torch.rand(len(ids), 1, generator=generator)
        drawn = torch.rand(ids.shape, generator=generator) < rates
        special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
        shown = ids.masked_fill(drawn & ~special, tokenizer.mask_token_id)
        logits = classifier.encoder.capture({**batch.inputs, "input_ids": shown}).logits
        labels = torch.tensor([text.label for text in batch.texts])
        torch.autograd.backward(functional.cross_entropy(logits, labels))
        optimizer.step()
        optimizer.zero_grad()
    model.requires_grad_(requires_grad=False)
