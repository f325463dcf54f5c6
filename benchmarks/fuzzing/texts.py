"""Texts that break tokenizers, and bytes that are no text at all."""

import random

from benchmarks.fuzzing.mutations import write_field

# Bytes that no UTF-8 decoder may accept.
NOT_TEXT = (
    b"\xed\xa0\x80",  # a lone high surrogate
    b"\xed\xb0\x80",  # a lone low surrogate
    b"\xed\xa0\xbd\xed\xb8\x80",  # a pair of them, as CESU-8 writes it
    b"\xc0\xaf",  # an overlong slash
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80",  # beyond the last code point
    b"\xf8\x88\x80\x80\x80",  # five bytes
    b"\xe2\x82",  # cut off
    b"\x80",  # a continuation of nothing
    b"\xff\xfe",
)
STRANGE = (
    "\u202eright to left\u202c",
    "\u2066\u2067\u2068 isolates \u2069",
    "zero\u200bwidth\u200d\u2060\ufeff",
    "nul\0in the middle",
    "\x01\x02\x1b[31m\x7f\x85 control",
    "\ufffe\uffff\U0010ffff",  # never to be characters
    "\ue000\U000f0000",  # private
    "\U0001d518\U0001f916 \U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e6\U0001f1e7\u20e3\ufe0f",
    "\ufdfa" * 40,  # each one eighteen letters when normalised
    "\ufb03 \u2460 \u00bd \u212b \u01c5 \u0130 \u1e9e",
    "\u1100\u1161\u11a8 \uac01 \u0e33 \u0f77",
    "\u00a0\u2003\u3000\u2028\u2029",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <s> </s> ##ing",
    "\r\n\t\v\f",
    "a" * 200,
    "'\";--</script>{{}}%s%n$(x)`x`\\",
    "\u0301" * 30,
)
# One mebibyte of accents over a single letter: too long, whatever its width.
_TOO_LONG = ("e" + "\u0301" * 2**19).encode()
_USUAL_LIMIT_BYTES = 16_384
_AROUND_THE_LIMIT = tuple(
    (piece * _USUAL_LIMIT_BYTES).encode()[: _USUAL_LIMIT_BYTES + 8]
    for piece in ("a ", "a", "\u4e2d", "\U0001f916")
)
# Of the basic plane, up to the surrogates.
_POINTS = range(1, 0xD800)


def write_request(texts: list[bytes], *, explains: bool = True) -> bytes:
    """Return an ExplainRequest with texts of any bytes, which no library would write.

    Args:
        texts: What stands where UTF-8 should.
        explains: Whether gates of both kinds are wanted.
    """
    # inputs = 3, of which text = 1; options = 4, of which gates = 1, packed.
    inputs = b"".join(write_field(3, write_field(1, text)) for text in texts)
    return inputs + (write_field(4, write_field(1, b"\x01\x02")) if explains else b"")


def draw_hostile_texts(chance: random.Random) -> list[bytes]:
    """Return one to four texts, few of them long, and many no text at all."""
    return [_draw_text(chance) for _ in range(chance.randint(1, 4))]


def _draw_text(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.005:
        return _TOO_LONG
    if kind < 0.02:
        # Around the usual limit of 16 KiB, in words, in one word and in wide letters.
        size = _USUAL_LIMIT_BYTES + chance.randint(-8, 8)
        return chance.choice(_AROUND_THE_LIMIT)[:size]
    if kind < 0.15:
        points = chance.choices(_POINTS, k=chance.randint(1, 60))
        return "".join(map(chr, points)).encode()
    pieces = [b"a funny movie", *(_draw_piece(chance) for _ in range(3))]
    chance.shuffle(pieces)
    return b" ".join(pieces[: chance.randint(1, 4)])


def _draw_piece(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.choice(NOT_TEXT)
    return chance.choice(STRANGE).encode() * chance.choice((1,) * 15 + (10,))
