"""Small tokenizers of the kinds that real checkpoints bring, trained on the spot."""

from collections.abc import Mapping

from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_TEXTS = ["A fast , funny movie .", "naïve words , 😀 and ünïcödé"] * 20


def byte_level_bpe() -> bytes:
    """Return a `tokenizer.json` in the manner of RoBERTa."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    return tokenizer.to_str().encode()


def sentence_piece() -> bytes:
    """Return a `tokenizer.json` in the manner of XLM-RoBERTa and ALBERT."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, show_progress=False, special_tokens=_SPECIALS, unk_token="<unk>"
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer.to_str().encode()


VOCABULARIES: Mapping[str, bytes] = {
    "byte-level BPE": byte_level_bpe(),
    "SentencePiece": sentence_piece(),
}
