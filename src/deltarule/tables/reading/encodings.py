"""Bytes become UTF-8 text: a byte order mark, UTF-8, or what older programs wrote."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HIGH = re.compile(rb"[\x80-\xff]+")
UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
"""Bytes that mean nothing in Windows' Western encoding."""


def marked(head: bytes) -> str | None:
    """Return the encoding of UTF-8 with a mark, of UTF-16 and UTF-32, or None."""
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    sample = head[: 1 << 14]
    sample = sample[: len(sample) // 2 * 2]
    if len(sample) >= 4 and b"\x00" in sample:
        even, odd = sample[::2], sample[1::2]
        if odd.count(0) > 0.5 * len(odd) and even.count(0) < 0.05 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.5 * len(even) and odd.count(0) < 0.05 * len(odd):
            return "utf-16-be"
    return None


def is_utf8(content: bytes, whole: bool = True) -> bool:
    """Return whether bytes are UTF-8; a character that is cut at the end is none if ``whole``."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def older(content: bytes) -> tuple[str, str]:
    """Return the encoding of bytes that are not UTF-8, and how errors in it are handled.

    Western text ("cp1252", or "latin-1" where a byte means nothing there) has single bytes of 128
    and more among ASCII letters. Long runs of them are Cyrillic, pairs of them East Asian.
    """
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8", "replace"
    sample = content[: 1 << 22]
    if not HIGH.search(sample):
        match = HIGH.search(content)
        sample = content[match.start() : match.start() + (1 << 22)] if match else sample
    runs = [match[0] for match in HIGH.finditer(sample)]
    high = sum(map(len, runs))
    good = sum(len(match[0]) for match in UTF8.finditer(b" ".join(runs)))
    if good > 0.8 * high and good >= 8:
        return "utf-8", "replace"
    if high >= 2 * len(runs):
        for name, first, last in (
            ("shift_jis", "\u3040", "\u30ff"),
            ("cp949", "\uac00", "\ud7a3"),
            ("gb18030", "\u4e00", "\u9fff"),
            ("big5", "\u4e00", "\u9fff"),
        ):
            if _reads(sample, name, first, last):
                return name, "strict"
        letters = sum(1 for run in runs for byte in run if byte >= 0xC0)
        if high >= 3 * len(runs) and letters > 0.95 * high:
            return "cp1251", "replace"
    return ("latin-1" if UNDEFINED.search(content) else "cp1252"), "strict"


def _reads(sample: bytes, name: str, first: str, last: str) -> bool:
    """Return whether bytes decode to letters of the script between two letters."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return False
    letters = [mark for mark in text if mark > "\x7f" and mark not in "\uff0c\u3002\u3001\uff08"]
    inside = sum(first <= mark <= last for mark in letters)
    if name == "gb18030":  # of which nearly every pair of bytes is a letter: most are rare ones
        common = sum(_common(mark) for mark in letters)
        return common >= 0.8 * len(letters)
    return inside >= (0.3 if name == "shift_jis" else 0.8) * max(len(letters), 1)


def _common(mark: str) -> bool:
    """Return whether a letter is of the first level of GB 2312, or a mark of it."""
    try:
        return 0xA1 <= mark.encode("gb2312")[0] <= 0xD7
    except UnicodeEncodeError:
        return False


def decoded(pieces: Iterable[bytes], encoding: str, errors: str = "strict") -> Iterator[bytes]:
    """Yield a stream of bytes as UTF-8, without a byte order mark."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    first = True
    for piece in pieces:
        text = decoder.decode(piece)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        yield text.encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")
