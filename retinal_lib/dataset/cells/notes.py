"""What a note in free text says beside the labels and numbers of its row: whether it contradicts or repeats them."""

import re
from collections.abc import Iterable, Iterator
from math import log10

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, SUSPECTED
from retinal_lib.check.language.statements import Statement, of_label, of_note
from retinal_lib.dataset.cells import values
from retinal_lib.facts import Fact

WORDS = word_lists("statements")
_AMOUNT = r"(\d{1,3}(?:[.,]\d+)?)(?:\s*/\s*(\d{1,3}(?:[.,]\d+)?))?(?![\d.,]*\d)"
_MARKS = r"[^\w<>≤≥]{0,3}"
_BETWEEN = rf"{_MARKS}(?:(?:ratio|was|is|of|OD|OS|OU|R|L|RE|LE)\b{_MARKS}){{0,3}}"  # a measure and its number


def contradicts(note: str, label: Fact) -> bool:
    """Says whether a note in free text cannot be true beside a label or number: it names a disease or grade that the label
    denies, denies one that it names, as "normal" does, or holds another number of the same measure.

    >>> from retinal_lib.facts import Source
    >>> def beside(note, words, value=1, unit="", aspect="disease"):
    ...     return contradicts(note, Fact(aspect, words, value, unit, words, Source("my.csv"), words))
    >>> beside("suspected glaucoma", "no glaucoma"), beside("drusen", "normal"), beside("clear media", "normal")
    (True, True, False)
    >>> beside("Normal", "suspected glaucoma"), beside("normal IOP", "glaucoma"), beside("normal", "no glaucoma")
    (True, False, False)
    >>> beside("PDR", "moderate NPDR", 2, "ICDR"), beside("severe NPDR", "moderate NPDR", 2, "ICDR")
    (True, True)
    >>> [beside(f"IOP {n}", "intraocular pressure", 15.0, "mmHg", "patient") for n in (30, 15)]
    [True, False]
    """
    if label.aspect == "patient":
        return isinstance(label.value, float) and any(not same for same in _alike(note, label))
    noted, labelled = of_note(note), of_label(label.words)
    there, named = noted_in(note), _with_implied(labelled.conditions, (AFFIRMED,))
    grade = VOCABULARY["levels"].get(label.unit, {}).get(label.value, {})
    has_disease = any(says in (AFFIRMED, SUSPECTED) for _, says in labelled.conditions)
    return bool(
        (there and labelled.normal)
        or (has_disease and of_label(note).normal)
        or there & {*_denied(labelled), *grade.get("absent", ())}
        or _denied(noted) & {*named, *grade.get("present", ())}
        or (label.unit == "ICDR" and _severities(note) - {label.value})
    )


def _with_implied(conditions: Iterable[tuple[str, str]], said: tuple[str, ...]) -> set[str]:
    """The conditions of which one of `said` is said, and what they imply."""
    return {each for c, says in conditions if says in said for each in (c, *lexicon.implied(c))}


def noted_in(note: str) -> set[str]:
    """Returns the conditions that a note says to be there or suspects, and what they imply."""
    return _with_implied(of_note(note).conditions, (AFFIRMED, SUSPECTED))


def _denied(statement: Statement) -> set[str]:
    return {condition for condition, says in statement.conditions if says == NEGATED}


def _severities(note: str) -> set[int]:
    """The grades that words of severity before the name of the retinopathy mean: the moderate of moderate NPDR."""
    text = lexicon.read(note)
    of = {t.first for t in text.of("conditions") if set(VOCABULARY["subjects"]["ICDR"]).intersection(t.values)}
    return {t.value for t in text.of("severity") if t.last in of and len(t.values) == 1}


def _alike(note: str, fact: Fact) -> Iterator[bool]:
    """For each number of a note that is called by the measure of a fact, whether it is the fact's, as far as it is written."""
    for name, of in values.words()["numbers"].items():
        if not (fact.name.endswith(name) or name.endswith(fact.name)):
            continue
        for found in _numbers(note, of):
            one, other = (each and float(each.replace(",", ".")) for each in found.groups())
            if of["unit"] == "logMAR" and one and other:  # 20/40
                yield abs(log10(other / one) - fact.value) < 0.06
            else:
                digits = len(found[1].replace(",", ".").partition(".")[2])
                yield any(abs(each - fact.value) <= 0.501 * 10**-digits for each in (one, other) if each is not None)


def agreeing(note: str, label: Fact) -> str:
    """Returns the items of a note that can be true beside a label or number; "" where none can be told alone. What follows a
    negation or doubt in the same clause goes with it.

    >>> from retinal_lib.facts import Source
    >>> denied = Fact("disease", "absent", 0, "", "no glaucoma", Source("my.csv"), "no glaucoma")
    >>> agreeing("glaucoma suspect, OHT; PVD", denied), agreeing("r/o glaucoma, AMD; PVD", denied)
    ('OHT; PVD', 'PVD')
    """
    kept, led = [], False
    for item in _items(note):
        if led and item.startswith(","):
            continue
        against = contradicts(item.lstrip(",; "), label)
        led = against and _is_led(item)
        kept += [] if against else [item]
    rest = _joined(kept)
    alone = set(of_note(rest).conditions) <= set(of_note(note).conditions)
    return rest if alone and not contradicts(rest, label) else ""


def _is_led(item: str) -> bool:
    """Whether something stands before what an item names that may hold for what follows it: no, r/o, ?, suspected."""
    text = lexicon.read(item)
    first = next((t.first for t in text.of("conditions")), 0)
    before = text.words[:first]
    return any(t.first < first for t in text.of("cues")) or not {"?", "r", "query", "rule", *WORDS.suspicion}.isdisjoint(before)


def _numbers(note: str, of: dict) -> Iterator[re.Match]:
    """The numbers of a note that are called by a measure of words.yaml."""
    called = "|".join(re.escape(each) for each in (*of["called"], *of.get("in notes", ())))
    return re.finditer(rf"(?<![\w/])(?:{called})(?!\w){_BETWEEN}{_AMOUNT}", note, re.IGNORECASE)


def tells_ratio(note: str) -> bool:
    """Says whether a note holds a cup-to-disc ratio.

    >>> tells_ratio("C/D 0.8"), tells_ratio("CDR normal, IOP 15")
    (True, False)
    """
    ratios = (of for name, of in values.words()["numbers"].items() if name.endswith("cup-to-disc ratio"))
    return any(True for of in ratios for _ in _numbers(note, of))


def unsaid(note: str, labels: Iterable[str]) -> str:
    """Returns a note without items that say the same as one of the labels or an earlier item, word for word, and without words
    written twice; whole where an item denies something, of which the next may be a part.

    >>> unsaid("moderate NPDR", ["moderate non-proliferative diabetic retinopathy"]), unsaid("Cataract", ["no cataract"])
    ('', 'Cataract')
    >>> unsaid("NTG, glaucoma, glaucoma", ["glaucoma"]), unsaid("PDR PDR, drusen; drusen", [])
    ('NTG', 'PDR, drusen')
    """
    told = {_as_said(label) for label in labels}
    items = [re.sub(r"\b([A-Za-z]{2,})(?: \1\b)+", r"\1", item) for item in _items(note)]
    new = [item for k, item in enumerate(items) if _as_said(item) not in {*told, *map(_as_said, items[:k])}]
    if _as_said(note) in told or not new:
        return ""
    return note if len(new) < len(items) and _denies(note) else _joined(new)


def _denies(note: str) -> bool:
    return any(NEGATED in term.values for term in lexicon.read(note).of("cues"))


def _items(note: str) -> list[str]:
    """The items of a note, each with the mark before it."""
    return [item for item in re.split(r"(?=[,;])|(?<=\.)(?=\s)", note) if re.search(r"\w", item)]


def _joined(items: Iterable[str]) -> str:
    return "".join(items).lstrip(",; ").rstrip(",;. ")


def without_plans(note: str) -> tuple[str, str]:
    """Returns a note without its plans and references to other texts, and these; a text that begins with `plan` is one to its
    end.

    >>> without_plans("nAMD, f/u 3/12, NS 2+"), without_plans("As above"), without_plans("ERM. Plan: IVT, OCT")
    (('nAMD, NS 2+', 'f/u 3/12'), ('', 'As above'), ('ERM', 'Plan: IVT, OCT'))
    """
    begins, within = ("|".join(values.words()["plans"][place]) for place in ("begin", "within"))
    plan = re.compile(rf"\W*(?:{begins})\b|.*\b(?:{within})\b", re.IGNORECASE)
    told, plans = [], []
    for item in _items(note):
        (plans if plan.match(item) or (plans and _is_whole_plan(plans[-1])) else told).append(item)
    return _joined(told), _joined(plans)


def _is_whole_plan(item: str) -> bool:
    return item.lstrip(",;. ").casefold().startswith("plan")


def _as_said(words: str) -> str:
    """Words of a label or note as they are compared: without spelling, plural, hyphens and the marks around them."""
    return " ".join(lexicon.read(values.written_out(words, all_known=True).replace("-", "").strip(",;. ")).words)
