import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from diffmask_training.classifier import load_classifier
from diffmask_training.config import FinetuneConfig
from diffmask_training.finetune import MaskingCollator, finetune
from tests.support.checkpoint import write_texts


@pytest.fixture
def config(checkpoint: Path, texts: Path, tmp_path: Path) -> FinetuneConfig:
    write_texts(texts, num_texts=240)
    return FinetuneConfig(
        data=texts.parent,
        train=Path(texts.name),
        base=checkpoint,
        checkpoint=tmp_path / "tuned",
        epochs=12,
        batch_size=8,
        learning_rate=2e-3,
    )


def test_classifier_learns_the_telling_words(config: FinetuneConfig) -> None:
    figures = finetune(config)
    assert figures["accuracy"] >= 0.8  # half of the texts have either label
    record = json.loads((config.checkpoint / "finetune.json").read_text())
    assert record["report"] == figures
    classifier = load_classifier(config.checkpoint)
    assert classifier.labels == ("negative", "positive")
    assert classifier.encoder.num_states == 4


def _collated(checkpoint: Path, *, share: float, rate: float) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    collator = MaskingCollator(tokenizer, masked_share=share, max_mask_rate=rate)
    texts = ["the film is good"] * 200 + ["bad"] * 200
    torch.manual_seed(0)
    return collator([dict(tokenizer(text)) for text in texts])["input_ids"]


def test_masking_spares_special_tokens_and_padding(checkpoint: Path) -> None:
    plain = _collated(checkpoint, share=0.0, rate=1.0)
    masked = _collated(checkpoint, share=1.0, rate=1.0)
    changed = masked != plain
    assert bool((masked[changed] == 4).all())
    assert bool((plain[changed] > 4).all())


def test_masking_takes_half_of_the_largest_rate_on_average(checkpoint: Path) -> None:
    plain = _collated(checkpoint, share=0.0, rate=0.6)
    masked = _collated(checkpoint, share=1.0, rate=0.6)
    share = (masked != plain).sum() / (plain > 4).sum()
    assert float(share) == pytest.approx(0.3, abs=0.04)
    assert not bool((plain == 4).any())
