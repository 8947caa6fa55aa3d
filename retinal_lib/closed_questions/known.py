"""What the labels of an image affirm, deny or suspect by name; what they do not say is not known."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from retinal_lib.check.case_profile import ABSENT, PRESENT, SUSPECTED, CaseProfile
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, implied
from retinal_lib.check.language.negation import AFFIRMED
from retinal_lib.check.language.statements import is_suspicion, of_label
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.facts import Case, Fact

_LABELLED = ("disease", "lesion")


@dataclass
class Known:
    """One image's conditions and lesions by their names, each with the fact that says so. Where the fact `rejected` says that
    its quality is too low, what was labelled all the same (`labelled`) is neither asked nor said to be unknown."""

    case: Case
    present: dict[str, Fact] = field(default_factory=dict)
    absent: dict[str, Fact] = field(default_factory=dict)
    suspected: dict[str, Fact] = field(default_factory=dict)
    rejected: Fact | None = None
    labelled: frozenset[str] = frozenset()

    def says_nothing_of(self, name: str) -> bool:
        """Whether no label says anything of a condition or lesion."""
        return not any(name in said for said in (self.present, self.absent, self.suspected, self.labelled))


def of(case: Case, denied: tuple[Fact, ...], names: Iterable[str]) -> Known:
    """Returns what a case, and what the cells of its row `denied`, say of conditions by `names`, and of lesions."""
    withheld = frozenset(case.withheld)
    denied = tuple(fact for fact in denied if withheld.isdisjoint(touched(fact.words)))
    profile = CaseProfile(case)
    rejected = profile.ungradable or profile.rejected
    if denied and not rejected:  # a rejected image does not show that there is none
        profile = CaseProfile(replace(case, facts=(*case.facts, *denied)))
    known = Known(case, rejected=rejected)
    for name in names:
        status, fact = _status(profile, name)
        if fact is not None and fact.aspect in _LABELLED:
            {PRESENT: known.present, ABSENT: known.absent, SUSPECTED: known.suspected}[status][name] = fact
    for fact in case.about("lesion"):
        if is_count(fact):
            (known.present if fact.value else known.absent)[fact.unit] = fact
    if rejected:
        return Known(case, rejected=rejected, labelled=frozenset({**known.present, **known.absent, **known.suspected}))
    return known


def _status(profile: CaseProfile, name: str) -> tuple[str | None, Fact | None]:
    """What the facts say of a condition: it is there, denied or suspected; (None, None) where they do not say, or disagree."""
    named = [fact for fact in profile.case.about("disease") if not fact.unit and fact.words == name]
    denying = [fact for fact in profile.case.about("disease") if fact.name == "absent" and fact.words == f"no {name}"]
    conditions, whole = conditions_of(name)
    status, fact = profile.status_of(conditions) if conditions else (None, None)
    there = named or ([fact] if whole and status == PRESENT and _states(fact, conditions) else [])
    if there:
        return (None, None) if denying or status in (ABSENT, SUSPECTED) else (PRESENT, there[0])
    if status == SUSPECTED and whole:
        return (None, None) if denying else (SUSPECTED, fact)
    if status in (None, ABSENT) and (denying or status == ABSENT):
        return ABSENT, denying[0] if denying else fact
    return None, None


def _states(fact: Fact, conditions: tuple[str, ...]) -> bool:
    """Whether a fact names one of the conditions or a form of it, and not only what is often seen beside it."""
    if fact.unit in VOCABULARY["levels"]:
        stated = VOCABULARY["levels"][fact.unit].get(fact.value, {}).get("present", ())
    else:
        stated = [condition for condition, says in of_label(fact.words).conditions if says == AFFIRMED]
    return any(c == each or c in implied(each) for each in stated for c in conditions)


@lru_cache(maxsize=4096)
def conditions_of(name: str) -> tuple[tuple[str, ...], bool]:
    """Returns the conditions that a name may mean, and whether they are all that it says: 'mild retinopathy' says more."""
    text = lexicon.read(name)
    terms = text.of("conditions")
    if len(terms) != 1:
        return (), False
    return tuple(map(str, terms[0].values)), terms[0].last - terms[0].first == len(text.words)


def touched(name: str) -> frozenset[object]:
    """Returns what a question about a condition gives away: it, and what it is a form of."""
    conditions, _ = conditions_of(name)
    return frozenset([name, *conditions, *(parent for c in conditions for parent in implied(c))])


def can_be_asked(name: str) -> bool:
    """Says whether a name is that of a condition, and not that it is denied, suspected or that the eye is normal.

    >>> [can_be_asked(name) for name in ("drusen", "no drusen", "suspected glaucoma", "normal fundus")]
    [True, False, False, False]
    """
    said = of_label(name)
    return not said.normal and not is_suspicion(name) and all(stated == AFFIRMED for _, stated in said.conditions)


def graded(case: Case) -> Iterable[tuple[Fact, dict]]:
    """Yields the grades of a case with their scales."""
    for fact in case.about("disease"):
        if fact.unit in scales():
            yield fact, scales()[fact.unit]
