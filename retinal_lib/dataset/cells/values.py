"""What one cell says by itself: an eye, a sex, an age, yes or no, a split, or only a code."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.parsing import packaged_yaml
from retinal_lib.text import training_text

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # PatientID
_AGE = re.compile(r"(?P<before>[^\d.,<>~-]*?)(?P<years>\d{1,3})(?:[.,]\d+)?(?P<after>[^\d<>~+-]*)")
_LANGUAGES = ("de", "es", "fr", "it", "nl", "pt")
_SIDES = {
    side: re.compile(rf"(?i:\b(?:{word}) (?:eye|fundus|disc|macula|retina)\b)|\b(?:{letters})\b")
    for side, word, letters in (("left", "left|L", "OS|LE"), ("right", "right|R", "OD|RE"))
}
_OTHER_EYE = re.compile(r"\b(?:fellow|other|opposite|contralateral) eye\b", re.IGNORECASE)
_DOUBT = re.compile(r"[?？¿~≈±<>]|^\s*[-+]\s*\d|\d\s*[-+]")  # beside a word or number that is plain without it: yes?, -1
_PREPOSITIONS = (" of", "without", "after")
_CODE = re.compile(r"[-+]?\d+(?:[.,]\d+)?|[-+]+|[A-Za-z]?\d{1,3}|[A-Za-z]", re.ASCII)


@cache
def words() -> dict:
    """Returns words.yaml."""
    return packaged_yaml(Path(__file__).with_name("words.yaml"))


@lru_cache(maxsize=16384)
def plain(text: str) -> str:
    """Returns a name or cell as compared: without case, accents and marks.

    >>> [plain(name) for name in ("Patient_ID", "PatientID", "Alter (Jahre)", "Qualität", "NºDoente", "年龄（岁）")]
    ['patient id', 'patient id', 'alter jahre', 'qualitat', 'no doente', '年龄 岁']
    """
    split = unicodedata.normalize("NFKD", str(text))
    bare = _CAMEL.sub(" ", "".join(letter for letter in split if not unicodedata.combining(letter)))
    return " ".join(re.findall(r"[^\W_]+", bare.casefold().replace("œ", "oe")))


@lru_cache(maxsize=16384)
def name_place(role: str, column: str) -> int | None:
    """Returns the place of a column's name among those of a role in words.yaml; None where it is not called so.

    >>> columns = ["Doente", "Nº Doente", "ID do doente", "Nº de historia clínica", "Historia clínica", "Nome do doente"]
    >>> [column for column in columns if name_place("patient", column) is None]
    ['Historia clínica', 'Nome do doente']
    >>> [column for column in ("Nome do ficheiro", "name", "ID da imagem") if name_place("image", column) is None]
    ['name']
    """
    listed, beside = words()["columns"][role], words()["beside"]
    parts = [part for part in plain(column).split() if part not in beside["all"]]
    ways = [plain(column), " ".join(parts)]
    if {*parts} <= {*listed, *beside.get(role, ())}:
        ways += parts
    return next((listed.index(way) for way in ways if way in listed), None)


@cache
def _book(name: str) -> dict[str, str]:
    """Plain cell -> what it means, for a heading of words.yaml with lists under it."""
    return {plain(word): meaning for meaning, listed in words()[name].items() for word in listed}


@cache
def _listed(name: str) -> frozenset[str]:
    """The plain words under a heading of words.yaml with one list."""
    return frozenset(map(plain, words()[name]))


def meaning(book: str, cell: str) -> str | None:
    """Returns what a cell means by a heading of words.yaml (eye, sex, split); None where it does not say.

    >>> meaning("eye", "OS"), meaning("eye", "linkes Auge"), meaning("sex", "weiblich"), meaning("sex", "F?")
    ('left', 'left', 'female', None)
    """
    return None if is_doubted(cell) else _book(book).get(plain(cell))


@cache
def sides() -> dict[str, str]:
    """Returns the plain words, each left or right, that say which eye it is."""
    return {word: side for word, side in _book("eye").items() if side != "both"}


def is_of_both_eyes(cell: str) -> bool:
    """Says whether a cell is a word for both eyes: OU, AO, beide."""
    return meaning("eye", cell) == "both"


def is_doubted(cell: str) -> bool:
    """Says whether a mark in a cell leaves what it says in doubt, or makes another number of it.

    >>> [cell for cell in ("yes", "yes?", "1 (?)", "-1", "1+", "left-eye", "1.0") if is_doubted(cell)]
    ['yes?', '1 (?)', '-1', '1+']
    """
    return bool(_DOUBT.search(cell))


def whole(cell: str) -> str:
    """Returns a whole number without the point or comma behind it, with which spreadsheet programs write some: 2.0, 2,0."""
    return re.sub(r"^(-?\d+)(?:\.0*|,00?)$", r"\1", cell)


def yes_or_no(cell: str) -> bool | None:
    """Returns whether a cell says yes (True) or no (False); None for anything else, such as 2, yes? or -1."""
    if is_doubted(cell):
        return None
    for word, value in (("yes", True), ("no", False)):
        if plain(whole(cell.strip())) in _listed(word):
            return value
    return None


def age(cell: str) -> int | None:
    """Returns whole years of age; None where the cell is no age, or one that nobody has.

    >>> [age(cell) for cell in ("58", "58.0", "58,5", "58岁", "61 Jahre", ">60", "60-65", "1958", "0", "6 months", "58?")]
    [58, 58, 58, 58, 61, None, None, None, None, None, None]
    """
    found = None if is_doubted(cell) else _AGE.fullmatch(cell.strip())
    known = found and {plain(found["before"]), plain(found["after"])} <= {"", *_listed("years")}
    years = int(found["years"]) if known else 0
    return years if 0 < years < 120 else None


def has_fraction(cell: str) -> bool:
    """Says whether a number in a cell has a fraction that is not zero; among whole ages it is a slip: 4.7 for 47.

    >>> [cell for cell in ("4.7", "61,5 y", "58.0", "58", "") if has_fraction(cell)]
    ['4.7', '61,5 y']
    """
    return bool(re.search(r"\d[.,]0*[1-9]", cell))


class Measure(NamedTuple):
    """What a column of numbers is called by: its name in a sentence; the unit that the column states ("" where it needs none,
    None where it states none) and the one that it may state; the range in which a number is plausible; "eye" where it is the
    eye's; and what else is called so, with all numbers of that."""

    name: str
    unit: str | None
    known_unit: str
    range: list[float]
    scope: str
    other: tuple[str, frozenset[float]]

    @property
    def entry(self) -> dict[str, object]:
        """What a page says of such a column, None in place of what nothing states."""
        of_unit = {} if self.unit == "" else {"unit": self.unit}
        of_eye = {"scope": self.scope} if self.scope else {}
        return {"name": self.name, **of_unit, "range": None if self.unit is None else self.range, **of_eye}


@lru_cache(maxsize=4096)
def measure(column: str) -> Measure | None:
    """Returns what the name of a column says was measured; None where it says nothing.

    >>> [measure(name).name for name in ("vertical CDR", "IOP", "BCVA_logMAR", "C/D ratio")][:2]
    ['vertical cup-to-disc ratio', 'intraocular pressure']
    >>> [measure(name).unit for name in ("CDR", "IOP", "IOP (mmHg)", "BCVA_logMAR")], measure("IOP class")
    (['', None, 'mmHg', 'logMAR'], None)
    """
    called = plain(column).replace(" ", "")
    for name, of in words()["numbers"].items():
        for title in (plain(each).replace(" ", "") for each in of["called"]):
            unit = of["unit"]
            beside = plain(unit).replace(" ", "")
            if called in (title, f"{title}{beside}", f"{title}in{beside}", f"{beside}{title}"):
                stated = unit if not unit or called != title else None
                other, *numbers = of.get("or", {}).get(called, [""])
                return Measure(name, stated, unit, of["range"], of.get("scope", ""), (other, frozenset(numbers)))
    return None


def is_code(cell: str) -> bool:
    """Says whether a cell holds only a code, which says nothing to who does not know the question that it answers.

    >>> [cell for cell in ("1", "0.7", "no", "Right", "R2", "++", "x", "DR", "no DR", "good") if not is_code(cell)]
    ['DR', 'no DR', 'good']
    """
    bare = cell.strip().strip(".;,")
    return bool(_CODE.fullmatch(bare)) or bare.casefold() in _codes()


@cache
def _codes() -> frozenset[str]:
    return frozenset(map(str, words()["codes"]))


def is_other(cell: str) -> bool:
    """Says whether a class stands for all other diseases, and so names none."""
    return plain(cell) in _listed("other")


@cache
def _of_no_person() -> frozenset[str]:
    small = ("degrees", "foreign doubt", "foreign small", "other meaning", "yes", "no", "codes")
    return frozenset().union(*map(_listed, small))


def names_nobody(word: str) -> bool:
    """Says whether a word is English, or a small word or degree of another language, and so no person's name.

    >>> [word for word in ("moderada", "sem", "RD", "mild", "Miller") if not names_nobody(word)]
    ['Miller']
    """
    return training_text.is_known(word.casefold()) or plain(word) in _of_no_person()


def says_suspected(cell: str) -> bool:
    """Says whether a cell is a word for a suspicion, and no more.

    >>> [cell for cell in ("suspect", "Suspected", "susp.", "Verdacht", "yes", "glaucoma suspect") if says_suspected(cell)]
    ['suspect', 'Suspected', 'susp.', 'Verdacht']
    """
    return plain(in_words(cell)) in _listed("suspected")


def says_ungradable(cell: str) -> bool:
    """Says whether a cell, or what a page says of it, is a word for an image that cannot be graded."""
    return not is_doubted(cell) and plain(cell) in _listed("ungradable")


def doubts_in_other_words(cell: str) -> str:
    """Returns a word of another language that denies what a cell names, or leaves it in doubt: keine DR; "" where there is
    none."""
    folded = cell.casefold()
    short = ["".join(each.split()) for each in re.findall(r"\b[a-z]{1,2}\.\s?[a-z](?=\.)", folded)]  # V. a.
    found = [*short, *re.findall(r"[^\W\d_]+", folded)]
    doubt = words()["foreign doubt"]
    return next((word for word in found if word in doubt), "") or next((w for w in doubt if not w.isascii() and w in cell), "")


def in_words(text: str) -> str:
    """Returns a text with its abbreviations for suspicion and denial written out, and blanks for underscores.

    >>> in_words("mild_NPDR w/o DME, susp. glaucoma"), in_words("AMD vs. CSR"), in_words("NAION s/p"), in_words("FHx: POAG")
    ('mild NPDR without DME, suspected glaucoma', 'AMD versus CSR', 'NAION s/p', 'family history of POAG')
    """
    text = re.sub(r"(?<=\w)_(?=\w)", " ", text)  # No_DR, as folders of classes are called
    for short, long in words()["written out"].items():
        after = r"(?:\s*:|\s+of\b)?(?=\s*[\w?])" if long.endswith(_PREPOSITIONS) else ""
        text = re.sub(rf"(?<![\w/]){re.escape(short)}(?![\w/])\.?{after}", long, text, flags=re.IGNORECASE)
    return text


def written_out(text: str, all_known: bool = False) -> str:
    """Returns a note as it is told: abbreviations and clinic shorthand with one meaning in words; `all_known`: also what is
    told as it is written since all know it.

    >>> written_out("POAG, s/p PRP; disc WNL"), written_out("amd, PVD, NVD+")
    ('primary open-angle glaucoma, after panretinal photocoagulation; disc within normal limits', 'amd, PVD, NVD+')
    """
    known = words()["shorthand"] | (words()["known shorthand"] if all_known else {})
    return re.sub(rf"(?<![\w+])({'|'.join(known)})(?![\w+])", lambda found: known[found[1]], in_words(text))


def shorthand_in(text: str) -> set[str]:
    """Returns the clinic shorthand of a text that has several meanings, and so is not written out."""
    return set(re.findall(r"\b[A-Z]+\b", text)).intersection(words()["ambiguous shorthand"])


def is_private(column: str) -> bool:
    """Says whether a column is called by what names a person or is a date: Patient name, Geburtsdatum."""
    parts = plain(column).split()
    ends = tuple(words()["private ends"])
    return not _listed("private").isdisjoint(parts) or any(part.endswith(ends) for part in parts)


def names_in(cell: str) -> set[str]:
    """Returns what identifies a person in a cell of names, dates or numbers: words that are no English, and longer numbers.

    >>> sorted(names_in("Meier, Hans; 12.03.1958; K-1001"))
    ['1001', '1958', 'hans', 'meier']
    """
    found = re.findall(r"[^\W_]+", cell.casefold())
    return {
        word for word in found if len(word) > 2 and (len(word) > 3 if word.isdecimal() else not training_text.is_known(word))
    }


def holds_code(name: str, code: str) -> bool:
    """Says whether a picture's name holds the code of its patient: not within a longer number or, of letters alone, a word.

    >>> holds_code("AK0017_OD_20220314.jpg", "AK0017"), holds_code("image117", "17"), holds_code("P17_left", "17")
    (True, False, True)
    >>> holds_code("scan_001", "an"), holds_code("an_001", "AN"), holds_code("scanAK0017", "AK0017")
    (False, True, True)
    """
    code = code.strip()
    beside = r"\d" if re.search(r"\d", code) else r"[^\W_]"
    return bool(code) and bool(re.search(rf"(?<!{beside}){re.escape(code)}(?!{beside})", name, re.IGNORECASE))


def languages(columns: Iterable[str]) -> list[str]:
    """Returns the languages under `eye letters` of words.yaml of which a word stands in the name of a column.

    >>> languages(["Olho", "Idade"]), languages(["eye", "age"])
    (['Portuguese'], [])
    """
    called = {word for column in columns for word in plain(column).split()}
    return [name for name, of in words()["eye letters"].items() if not called.isdisjoint(of["columns"])]


def eye_letters(columns: Iterable[str]) -> dict[str, str]:
    """Returns which eye a single letter means where the columns are named in one language; else none: D, E are of several.

    >>> eye_letters(["Olho", "Idade"]), eye_letters(["eye", "age"])
    ({'d': 'right', 'e': 'left'}, {})
    """
    spoken = [words()["eye letters"][name] for name in languages(columns)]
    return {letter: side for of in spoken for side in ("right", "left") for letter in of[side]} if len(spoken) == 1 else {}


def in_english(cell: str) -> str:
    """Returns a cell on diseases in English, where all that it lists is in words.yaml; else the cell as it stands.

    >>> in_english("Katarakt?; Glaukom"), in_english("青光眼"), in_english("keine DR"), in_english("cataract")
    ('suspected cataract; glaucoma', 'glaucoma', 'keine DR', 'cataract')
    """
    known = words()["diseases"]
    parts = [part for part in re.split(r"[,;，；、]", cell) if part.strip()]
    if not parts or any(plain(part) not in known for part in parts):
        return cell
    return "; ".join(f"{'suspected ' if is_doubted(part) else ''}{known[plain(part)]}" for part in parts)


def untold(cell: str, eye: str | None = None, foreign_table: bool = False) -> str:
    """Says why a cell of free text may not be told of an eye as it stands; "" where it may. In a table whose columns are named
    in another language, each of its words must be English.

    >>> [cell for cell in ("má", "Má", "ma", "MA", "AMD", "good", "foco má", "boa") if not untold(cell)]
    ['MA', 'AMD', 'good']
    >>> [untold(cell) for cell in ("2", "cicatriz", "keine DR", "Stargardt disease")][:2]
    ["'2' is only a code, which says nothing by itself", "'cicatriz' is not understood as English"]
    >>> [cell for cell in ("PPR", "Exsudats", "atrophie géo", "drusen, IOP 12 mmHg") if not untold(cell, foreign_table=True)]
    ['drusen, IOP 12 mmHg']
    """
    if is_code(cell):
        return f"{cell!r} is only a code, which says nothing by itself"
    if is_doubted(cell) and plain(cell) in _listed("ungradable"):
        return f"{cell!r} leaves open whether the image can be graded"
    if other := _other_eye(cell, eye):
        return other
    if word := doubts_in_other_words(cell):
        return f"{word!r} denies or doubts in another language than English"
    every = re.findall(r"[^\W\d_]+", cell)
    alone = len(every) == 1 and not every[0].isupper()  # MA is an abbreviation, ma no English
    small = words()["foreign small"]
    found = [word for word in every if len(word) > 2 or alone or not word.isascii() or word.casefold() in small]
    foreign = [word for word in found if _is_foreign(word.casefold())]
    known = sum(training_text.is_known(word.casefold()) for word in found)
    if foreign and len(foreign) >= known:
        return f"{foreign[0]!r} is not understood as English"
    odd = next((word for word in every if not _is_english(word)), "") if foreign_table else ""
    return odd and f"{odd!r} is not plainly English, and the columns of this table are named in another language"


def _other_eye(cell: str, eye: str | None) -> str:
    """Says that a text names another eye than its image's, or both by name where that is not known; "" where it does not."""
    named = {side for side, pattern in _SIDES.items() if pattern.search(cell)} - {eye}
    if eye and named:
        return f"it names the {named.pop()} eye, and this is the {eye} one"
    if len(named) > 1:
        return "it names the left and the right eye, and which this is is not known"
    return "it tells of the other eye" if _OTHER_EYE.search(cell) else ""


def _is_english(word: str) -> bool:
    """Whether a word is English, without an accent, and means nothing else in another language."""
    small = word.casefold().replace("µ", "u")
    listed = small in words()["foreign small"] or small in _listed("other meaning")
    return small.isascii() and training_text.is_known(small) and not listed


@lru_cache(maxsize=4096)
def _is_foreign(word: str) -> bool:
    """Whether a word is a hundred times as frequent in another language as in English, or listed as one of another."""
    if word in words()["foreign small"] or (plain(word) in words()["diseases"] and word not in words()["diseases"].values()):
        return True
    if plain(word) in _listed("degrees"):
        return True
    if training_text.is_known(word):
        return False
    from wordfreq import zipf_frequency  # slow to load, and most tables need it for no word

    return max(zipf_frequency(word, language) for language in _LANGUAGES) - zipf_frequency(word, "en") >= 2
