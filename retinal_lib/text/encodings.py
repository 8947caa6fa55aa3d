"""Which encoding a text was saved in, and texts that were once read in a wrong one: letters are never guessed."""

import codecs
import re

_HIGH = re.compile(rb"[\x80-\xff]+")
# what no Western word has in cp1252: four accents in a row, two without a letter beside them, two usual Chinese characters at
# its end, a sign such as ³ before a letter (a Polish ł), a sign such as ‹ within it (an accent of old Macintoshes)
_FOREIGN = re.compile(
    rb"[\x80-\x9f\xa1-\xff]{4}"
    rb"|(?<![A-Za-z\x80-\xff])[\xa1-\xff]{2,}(?![A-Za-z\x80-\xff])"
    rb"|(?<![\x80-\xff])(?:[\xb0-\xd7][\xa1-\xfe])+(?![A-Za-z\x80-\xff])"
    rb"|[\xa2-\xa9\xac\xae\xaf\xb1-\xb3\xb6\xb8\xb9\xbc-\xbe](?=[a-z])"
    rb"|(?<=[a-z])[\x80-\x84\x86-\x8f\x98\x99\x9b\x9d\x9f](?=[a-z])"
)
_CHINESE = re.compile(rb"(?:[\xa1-\xa3\xb0-\xd7][\xa1-\xfe])+")  # marks and the usual characters of GB 2312
_NOT_LATIN_1 = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # bytes that cp1252 does not know


class UnknownEncoding(ValueError):
    """Raised for a text in an encoding that is not known; `line` says where, counted from 1."""

    def __init__(self, line: int):
        super().__init__(f"line {line}: letters in an encoding that is not known")
        self.line = line


def decoded(raw: bytes) -> tuple[str, str]:
    """Returns a text and its encoding: UTF-8, UTF-16 with its mark, the Chinese gb18030, or a Western code page.
    UnknownEncoding: none of them.

    >>> decoded("青光眼".encode("gbk")), decoded("São".encode("cp1252"))
    (('青光眼', 'gb18030'), ('São', 'cp1252'))
    """
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what Excel calls Unicode text
            return raw.decode("utf-16"), "utf-16"
        return raw.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if strange := _FOREIGN.search(raw):
            if _is_chinese(raw):
                return raw.decode("gb18030"), "gb18030"
            raise UnknownEncoding(raw.count(b"\n", 0, strange.start()) + 1) from error
        encoding = "latin-1" if any(byte in raw for byte in _NOT_LATIN_1) else "cp1252"
        return raw.decode(encoding), encoding


def _is_chinese(raw: bytes) -> bool:
    """Whether nearly all that is not ASCII is of the characters that Chinese texts are written in."""
    runs = _HIGH.findall(raw)
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return False
    usual = sum(len(run) for run in runs if _CHINESE.fullmatch(run))
    return usual >= 0.9 * sum(map(len, runs))


def garbled(text: str) -> str:
    """Returns the first letters of a text that were saved in one encoding and read in another; "" where there are none.

    >>> garbled("sem alteraÃ§Ãµes"), garbled("sem alterações"), garbled("ÌÇÄò²¡")
    ('Ã§Ãµ', '', 'ÌÇÄò²¡')
    """
    for run in re.findall(r"[^\x00-\x7f]{2,}", text):
        try:
            raw = run.encode("cp1252")
        except UnicodeEncodeError:
            continue
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            if len(raw) < 4 or not _CHINESE.fullmatch(raw):
                continue
        return run
    return ""
