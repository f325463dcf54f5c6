"""Small encoders with random weights, to be trained from scratch.

They stand for families of which no pretrained weights are at hand: what is tested is
whether a fit converges, not how good the classifier is.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

_SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_MAX_TOKENS = 128
# What a family's settings have beside the common sizes.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    # Positions are numbered from behind the padding index.
    "roberta": {"max_position_embeddings": _MAX_TOKENS + 2, "type_vocab_size": 1},
    "electra": {"embedding_size": 64},
    "modernbert": {"local_attention": 32, "global_attn_every_n_layers": 2},
}
FAMILIES = tuple(_SETTINGS)


def write_small_model(
    directory: Path,
    texts: Iterable[str],
    *,
    family: str,
    num_layers: int,
    hidden_size: int,
    vocabulary_size: int,
) -> None:
    """Write an encoder with random weights and a tokenizer that knows some texts.

    Args:
        directory: Where to.
        texts: What the vocabulary is learned from.
        family: One of `FAMILIES`.
        num_layers: Number of blocks.
        hidden_size: Width of a state.
        vocabulary_size: Most tokens of the vocabulary.
    """
    tokenizer = _tokenizer(texts, vocabulary_size)
    ids = {role: tokenizer.token_to_id(token) for role, token in _SPECIALS.items()}
    common = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": hidden_size // 32,
        "intermediate_size": 2 * hidden_size,
        "max_position_embeddings": _MAX_TOKENS,
        "pad_token_id": ids["pad_token"],
        "bos_token_id": ids["cls_token"],
        "eos_token_id": ids["sep_token"],
        "cls_token_id": ids["cls_token"],
        "sep_token_id": ids["sep_token"],
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**common, **_SETTINGS[family]})
    model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(directory)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, model_max_length=_MAX_TOKENS, **_SPECIALS
    ).save_pretrained(directory)


def _tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=_SPECIALS["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        show_progress=False,
        special_tokens=list(_SPECIALS.values()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    first, last = _SPECIALS["cls_token"], _SPECIALS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[
            (token, tokenizer.token_to_id(token)) for token in (first, last)
        ],
    )
    return tokenizer
