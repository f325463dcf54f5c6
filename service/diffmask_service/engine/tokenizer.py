"""Adapter of the `tokenizers` library: a text to the tokens that the model reads.

Nothing is set on a tokenizer after it was built: changing its padding or truncation
while another thread encodes fails with "Already borrowed". Cutting long texts is
therefore the work of a second instance that never does anything else.
"""

import numpy as np
from tokenizers import Encoding, Tokenizer

from diffmask_service.core.values import TextInput, TokenizedText
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

    def tokenize(self, text: TextInput, *, truncate: bool, where: str) -> TokenizedText:
        """Return the tokens of one text.

        Args:
            text: A text or a pair, encodable as UTF-8.
            truncate: Cut a text over the token limit instead of refusing it.
            where: Its place in the request, for error messages.

        Raises:
            InputTooLong: It has too many tokens and may not be cut, or not its first
                text, which leaves no room for the second.
            InvalidInput: The model's vocabulary leaves nothing of it.
            InferenceError: The tokenizer fails on it.
        """
        encoding = _encode(self._whole, text)
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
        if len(set(encoding.sequence_ids) - {None}) < num_texts:
            raise InvalidInput(
                f"{where} holds nothing that the model can read, only white space or"
                " control characters; send at least one word"
            )
        num_fixed = num_tokens - encoding.sequence_ids.count(1)
        if is_too_long and self._keeps_first and num_fixed >= self._max_tokens:
            raise InputTooLong(
                f"{where} has {num_fixed} tokens before any of its text_pair, which"
                f" alone may be cut; the model takes {self._max_tokens}. Shorten the"
                " text.",
                num_tokens=num_fixed,
                max_tokens=self._max_tokens,
            )
        if is_too_long:
            encoding = _encode(self._cutting, text)
        return _to_tokenized(encoding, is_truncated=is_too_long)


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


def _encode(tokenizer: Tokenizer, text: TextInput) -> Encoding:
    try:
        return tokenizer.encode(text.text, text.text_pair)
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
