"""Text as people may read and pass it on: without absolute paths, and without names that identify participants.

Everything that leaves the data for people goes through `for_people`: error messages, tables, titles of figures, pages, cards,
manifests and executed notebooks. Names are known by the patterns of datasets whose names hold participants' ids, and by
`keep_private`, which a dataset with the page key `private_names` calls when it is opened."""

import os
import re
from collections.abc import Iterable
from itertools import islice

from retinal_lib import paths

# names of pictures that identify participants wherever they occur, as the pages of published datasets declare them
PATTERNS = (r"\d{7}_(?:21015|21016)_\d+_\d+",)
IMAGE, PERSON = "an image", "a participant"
_PATTERN = re.compile(rf"(?:{'|'.join(PATTERNS)})(?:\.\w{{3,4}}\b)?", re.IGNORECASE)
_WORD = re.compile(r"[\w.-]+")
_PATH = re.compile(r"(?<![\w./:<…~\\-])/[^\s/<>]+/[^\s/<>]|(?<!\w)[A-Za-z]:\\[^\s\\]+\\")
_PATH_END = re.compile(r"[\s,;:()'\"<>|/\\]")
_REST = re.compile(r"[^\s,;:()'\"<>|]*")
_LONGEST = 400  # characters of a path
_CUTS = 40  # blanks, slashes and the like in a path
_MOST = 100  # paths of a text that are looked up on the disk

_words: dict[str, str] = {}  # folded name -> what is said instead
_phrases: dict[str, str] = {}  # the same, for names with blanks or other signs


def keep_private(names: Iterable[str], said: str) -> None:
    """Notes names, such as a picture's file name, stem and id, instead of which `said` is told from now on in this process."""
    for name in names:
        if len(name) > 4 or (re.search(r"\d", name) and re.search(r"[^\W\d_]", name)):  # "12" and "left" tell nobody
            (_words if _WORD.fullmatch(name) else _phrases)[name.casefold()] = said


def identifies(name: str) -> bool:
    """Says whether a picture's name identifies a participant, as far as names are known.

    >>> identifies("9999999_21015_0_0.png"), identifies("IDRiD_01.jpg")
    (True, False)
    """
    return for_people(name) != name


def for_people(text: str) -> str:
    """Returns a text without names that identify participants, and with each absolute path relative to the project, or reduced
    to its last two parts.

    >>> for_people("9999999_21015_0_0.png cannot be read")
    'an image cannot be read'
    """
    text = _without_places(text)
    for phrase, said in _phrases.items():
        if phrase in text.casefold():
            text = re.sub(re.escape(phrase), said, text, flags=re.IGNORECASE)
    if _words:
        text = _WORD.sub(_said, text)
    return _PATTERN.sub(lambda found: _words.get(found[0].casefold(), IMAGE), text)


def cleaned(value: object) -> object:
    """Returns a JSON-ready value with all its texts, keys too, as `for_people` gives them."""
    if isinstance(value, str):
        return for_people(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(entry) for key, entry in value.items()}
    return [cleaned(entry) for entry in value] if isinstance(value, list | tuple) else value


def _said(found: re.Match[str]) -> str:
    """What is said instead of a word; a name may have another ending, or stand at the end of a sentence."""
    word = found[0]
    for part in (word, word.rstrip("."), word.rpartition(".")[0]):
        if said := _words.get(part.casefold()):
            return said + ("." if word.endswith(".") else "")
    return word


def _without_places(text: str) -> str:
    parts, done = [], 0
    for number, found in enumerate(_PATH.finditer(text)):
        if found.start() < done:
            continue
        if number >= _MOST:  # no sentence has so many paths: a blank ends them, and the disk is not asked
            end = _REST.match(text, found.start()).end()
            said = "…/" + "/".join(text[found.start() : end].replace("\\", "/").split("/")[-2:])
        elif end := _end_of_path(text, found.start()):
            said = paths.display_path(text[found.start() : end])
        else:
            continue
        parts += [text[done : found.start()], said]
        done = end
    return "".join([*parts, text[done:]])


def _end_of_path(text: str, start: int) -> int:
    """Where a path ends that may have blanks: after the longest part that exists on this machine; 0 where nothing does."""
    window = text[start : start + _LONGEST].split("\n", 1)[0].split("\0", 1)[0]
    cuts = [found.start() for found in islice(_PATH_END.finditer(window, 1), _CUTS)]
    if len(cuts) < _CUTS:
        cuts.append(len(window))
    for cut in reversed(cuts):
        if window[:cut].strip("\\/") and os.access(window[:cut], os.F_OK):
            return start + _REST.match(window, cut).end()
    return 0
