"""Adapter of the `tokenizers` library: a text to the tokens that the model reads.

Tokens that a caller made are looked up in the same vocabulary.

Nothing is set on a tokenizer after it was built: changing its padding or truncation
while another thread encodes fails with "Already borrowed". Cutting long texts is
therefore the work of a second instance that never does anything else.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from tokenizers import Encoding, Tokenizer

from diffmask_service.core.spelling import spelled_offsets
from diffmask_service.core.values import ModelInput, TokenInput, TokenizedText
from diffmask_service.errors import (
    BundleError,
    InferenceError,
    InputTooLong,
    InvalidInput,
)


class TextTokenizer:
    """Turns texts into tokens; safe to call from several threads.

    Args:
        definition: Content of the bundle's `tokenizer.json`.
        max_tokens: Longest input, tokens, special tokens counted.
        keeps_first: Whether only the second text of a pair may be cut, as a question
            loses its meaning with its end; otherwise the longer one is.

    Raises:
        BundleError: The definition is not a tokenizer's.
    """

    def __init__(
        self, definition: bytes, *, max_tokens: int, keeps_first: bool = False
    ) -> None:
        self._max_tokens = max_tokens
        self._keeps_first = keeps_first
        self._whole = _load(definition)
        self._cutting = _load(definition)
        # As in training.
        strategy = "only_second" if keeps_first else "longest_first"
        self._cutting.enable_truncation(max_tokens, strategy=strategy)

    @property
    def max_id(self) -> int:
        """The highest index of any token."""
        return max(self._whole.get_vocab(with_added_tokens=True).values())

    def tokenize(
        self, text: ModelInput, *, truncate: bool, where: str
    ) -> TokenizedText:
        """Return the tokens of one text.

        Args:
            text: A text or a pair, encodable as UTF-8; or its tokens, which are looked
                up.
            truncate: Cut a text over the token limit instead of refusing it.
            where: Its place in the request, for error messages.

        Raises:
            InputTooLong: It has too many tokens and may not be cut, or not its first
                text, which leaves no room for the second.
            InvalidInput: The model's vocabulary leaves nothing of it, or it lacks a
                token that is to be masked.
            InferenceError: The tokenizer fails on it.
        """
        if isinstance(text, TokenInput):
            return self.look_up(text, where=where)
        encoding = _encode(self._whole, text.text, text.text_pair)
        num_tokens = len(encoding.ids)
        is_too_long = num_tokens > self._max_tokens
        if is_too_long and not truncate:
            raise InputTooLong(
                f"{where} has {num_tokens} tokens, special tokens counted; the model"
                f" takes {self._max_tokens}. Shorten it or ask for truncation.",
                num_tokens=num_tokens,
                max_tokens=self._max_tokens,
            )
        num_texts = 1 if text.text_pair is None else 2
        of_text = encoding.sequence_ids
        if not all(number in of_text for number in range(num_texts)):
            raise InvalidInput(
                f"{where} holds nothing that the model can read, only white space or"
                " control characters; send at least one word"
            )
        num_fixed = num_tokens - of_text.count(1)
        if is_too_long and self._keeps_first and num_fixed >= self._max_tokens:
            raise InputTooLong(
                f"{where} has {num_fixed} tokens before any of its text_pair, which"
                f" alone may be cut; the model takes {self._max_tokens}. Shorten the"
                " text.",
                num_tokens=num_fixed,
                max_tokens=self._max_tokens,
            )
        if is_too_long:
            encoding = _encode(self._cutting, text.text, text.text_pair)
        _check_masked(text.masked_tokens, len(encoding.ids), where)
        return _to_tokenized(encoding, is_truncated=is_too_long)

    def look_up(self, tokens: TokenInput, *, where: str) -> TokenizedText:
        """Return tokens that a caller made, as they are.

        Each token that is not of the template counts as a word of its own; offsets are
        those in the `spelled_text` of the result.

        Args:
            tokens: Special tokens included.
            where: Their place in the request, for error messages.

        Raises:
            InputTooLong: There are too many; they are never cut.
            InvalidInput: The vocabulary lacks a token, or a text has special ones only.
        """
        num_tokens = len(tokens.input_ids)
        if num_tokens > self._max_tokens:
            raise InputTooLong(
                f"{where} has {num_tokens} tokens; the model takes {self._max_tokens}."
                " Cut them before the special token at their end.",
                num_tokens=num_tokens,
                max_tokens=self._max_tokens,
            )
        texts = tuple(self._spell(each, where) for each in tokens.input_ids.tolist())
        is_special = np.isin(tokens.input_ids, self._template_ids)
        kinds = tokens.token_type_ids
        kinds = np.zeros(num_tokens, dtype=np.int64) if kinds is None else kinds
        num_texts = 2 if kinds.any() else 1
        if len(np.unique(kinds[~is_special])) < num_texts:
            raise InvalidInput(
                f"{where} or one of its two texts holds special tokens only; send at"
                " least one other"
            )
        segments = np.where(is_special, 0, kinds)
        positions = np.arange(num_tokens, dtype=np.int64)
        return TokenizedText(
            input_ids=tokens.input_ids,
            token_type_ids=kinds,
            texts=texts,
            offsets=spelled_offsets(texts, segments, is_special),
            segments=segments,
            word_index=np.where(is_special, -1, positions),
            is_special=is_special,
            is_truncated=False,
        )

    @cached_property
    def _template_ids(self) -> tuple[int, ...]:
        # What is left of nothing.
        encodings = (self._whole.encode(""), self._whole.encode("", ""))
        return tuple(
            token_id
            for encoding in encodings
            for token_id, is_special in zip(
                encoding.ids, encoding.special_tokens_mask, strict=True
            )
            if is_special
        )

    def _spell(self, token_id: int, where: str) -> str:
        spelled = None
        # The library takes 32 bits without a sign.
        if 0 <= token_id < 2**32:
            spelled = self._whole.id_to_token(token_id)
        if spelled is None:
            raise InvalidInput(
                f"{where} holds the token {token_id}, which the model's vocabulary does"
                " not; use the tokenizer that the model was trained with"
            )
        return spelled


def _load(definition: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(definition.decode())
    except BaseException as error:
        if not _is_the_librarys(error):
            raise
        raise BundleError(
            f"tokenizer.json: not a tokenizer ({error}); export the bundle again"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _check_masked(places: Sequence[int], num_tokens: int, where: str) -> None:
    wrong = next((each for each in places if not 0 <= each < num_tokens), None)
    if wrong is not None:
        raise InvalidInput(
            f"{where}.masked_tokens: {wrong} is no token of the text, which has"
            f" {num_tokens}; count from 0, special tokens included"
        )


def _encode(tokenizer: Tokenizer, text: str, text_pair: str | None = None) -> Encoding:
    try:
        return tokenizer.encode(text, text_pair)
    except BaseException as error:
        if not _is_the_librarys(error):
            raise
        raise InferenceError("the tokenizer failed on this text") from error


def _is_the_librarys(error: BaseException) -> bool:
    # It raises bare `Exception` for whatever it cannot do; and where its Rust panics,
    # something that is not even that, of a class that cannot be imported.
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _to_tokenized(encoding: Encoding, *, is_truncated: bool) -> TokenizedText:
    words = [-1 if index is None else index for index in encoding.word_ids]
    segments = [index or 0 for index in encoding.sequence_ids]
    return TokenizedText(
        input_ids=np.array(encoding.ids, dtype=np.int64),
        token_type_ids=np.array(encoding.type_ids, dtype=np.int64),
        texts=tuple(encoding.tokens),
        offsets=np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),
        segments=np.array(segments, dtype=np.int64),
        word_index=np.array(words, dtype=np.int64),
        is_special=np.array(encoding.special_tokens_mask, dtype=np.bool_),
        is_truncated=is_truncated,
    )
