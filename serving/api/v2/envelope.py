"""The JSON around the numbers of a long request, and the numbers apart from it: each is read by what reads it best."""

from __future__ import annotations

import re

MAX_KEYS = 1024  # `data` keys that are looked at; what stands behind them stays where it is
MAX_QUOTES = 2**20  # of a text whose lists of strings are taken out
_LIST = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=\[)")
# Brackets, commas, and strings that are no keys: of JSON, a list of strings and what stands behind it up to a key.
_TEXTS = re.compile(rb'(?:[\[\], \t\r\n]++|"(?:[^"\\]++|\\[\s\S])*+"(?![ \t\r\n]*+:))++')


def split(text: bytes, most: int = MAX_KEYS) -> tuple[list[bytes], list[bytes]]:
    """(the text between the lists behind `"data":`, one more than there are lists; those lists)

    A list here goes from its `[` to the last `]` before the next quote or closing brace: all of a list of numbers,
    flat or nested. So is a list of strings taken out; one of anything else is left in the text. Of JSON, what is taken
    out is always a whole value: a quote that opens no string closes one, and no colon comes behind a string that is no
    key. Of what is not JSON, the text or a list is none either.
    """
    gaps: list[bytes] = []
    lists: list[bytes] = []
    begin = at = 0
    few: bool | None = None  # whether there are few quotes, counted once
    for _ in range(most):
        if (key := text.find(b'"data"', at)) < 0:
            break
        at = key + len(b'"data"')
        if (colon := _LIST.match(text, at)) is None:
            continue
        start = colon.end()
        quote = text.find(b'"', start)
        brace = text.find(b"}", start, len(text) if quote < 0 else quote)
        limit = brace if brace >= 0 else len(text) if quote < 0 else quote
        end = text.rfind(b"]", start, limit) + 1
        if text[end:limit].strip() and text.find(b"[", start + 1, end) >= 0:
            # More comes than the end of an object: that bracket may be an inner one, of a list that goes on otherwise.
            end = end if text.count(b"[", start, end) == text.count(b"]", start, end) else 0
        if end <= 0 and quote >= 0:
            few = text.count(b'"') <= MAX_QUOTES if few is None else few
            end = _end_of_texts(text, start) if few else 0
        if end > 0:
            gaps.append(text[begin:start])
            lists.append(text[start:end])
            begin = at = end
    gaps.append(text[begin:])
    return gaps, lists


def _end_of_texts(text: bytes, start: int) -> int:
    """Where the list of strings ends that begins here; 0 where it holds anything else.

    It looks no further than the next key, so that all lists of a text cost no more than reading it once.
    """
    if (texts := _TEXTS.match(text, start)) is None:
        return 0
    # Behind it comes the end of its object, or the key of its next member.
    if text[texts.end() : texts.end() + 1] not in (b"}", b'"'):
        return 0
    return text.rfind(b"]", start, texts.end()) + 1
