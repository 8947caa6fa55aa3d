"""Composes conversations from facts without a language model, in varied phrases, stating nothing but the facts."""

import random
import re
from functools import cache
from typing import NamedTuple

import yaml

from retinal_lib.conversation import CONSULT_WORDS, TURNS
from retinal_lib.dataset.automorph import AUTOMORPH, REJECTED
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import ENDINGS, box_text, is_count
from retinal_lib.facts import LIMITED, Case, Fact
from retinal_lib.teacher import offline_phrases
from retinal_lib.teacher.offline_phrases import Phrases, articled, joined, sentence
from retinal_lib.teacher.prompt import PROMPTS

# the orders of turns in an instruction conversation; the image itself always comes first
_ORDERS = (
    ("quality", "disease", "lesion", "disc", "vascular", "patient", "notes"),
    ("disease", "lesion", "vascular", "disc", "quality", "patient", "notes"),
    ("patient", "quality", "disease", "lesion", "disc", "vascular", "notes"),
    ("disease", "lesion", "quality", "disc", "vascular", "notes", "patient"),
    ("quality", "disc", "vascular", "disease", "lesion", "patient", "notes"),
)
_LEAST, _MOST = TURNS["instruction"]


@cache
def _bank() -> dict:
    return yaml.safe_load((PROMPTS / "offline.yaml").read_text(encoding="utf-8"))


def version() -> int:
    """Returns the composer's version, from offline.yaml; it is a part of each request's key."""
    return _bank()["version"]


def compose(case: Case, track: str, style: str | None, seed: int) -> str:
    """Returns a conversation about a case in the format that prompts ask for; equal seeds give equal conversations."""
    composer = _Composer(case, random.Random(f"{seed}:{track}:{style}:{case.id}"))
    turns = composer.conversation() if track == "instruction" else composer.single(style)
    return "\n".join(f"User: {question}\nAssistant: {answer}" for question, answer in turns)


class _Topic(NamedTuple):
    """The subject of one turn: the bank of its question and the sentences of its answer."""

    question: str
    answer: tuple[str, ...]


class _Composer:
    """The composer of one conversation. Each topic's sentences are composed once, so that a fact is stated once."""

    def __init__(self, case: Case, rng: random.Random):
        self.case, self.rng, self.bank = case, rng, _bank()
        self.phrases = Phrases(rng)
        self.vessels = offline_phrases.Vessels(case.about("vascular"), self.bank["vascular"], self.phrases)

    def conversation(self) -> list[tuple[str, str]]:
        """Returns three to six turns: one for each aspect that has facts, related ones combined where there are more."""
        topics = {name: topic for name in ("image", *_ORDERS[0]) if (topic := self._topic(name))}
        ordered = [topics[name] for name in ("image", *self.rng.choice(_ORDERS)) if name in topics]
        while len(ordered) > _MOST:
            ordered = self._merged(ordered)
        while len(ordered) < _LEAST:
            ordered = self._split(ordered)
        return [(self._question(topic.question), " ".join(topic.answer)) for topic in ordered]

    def single(self, style: str | None) -> list[tuple[str, str]]:
        """Returns one turn: a caption states every fact, a consultation the most important in at most 50 words."""
        sentences = self._consult() if style == "consult" else self._caption()
        return [(self._question(style or "caption"), " ".join(sentences))]

    def _question(self, name: str) -> str:
        return self.phrases.say(self.bank["questions"][name])

    # --- the topics, one method each, which returns their sentences ---------------------------------------------------

    def _topic(self, name: str) -> _Topic | None:
        sentences = getattr(self, f"_{name}")()
        unknown = name == "disease" and not self.case.about("disease")
        return _Topic("unknown" if unknown else name, tuple(sentences)) if sentences else None

    def _facts(self, aspect: str, name: str) -> list[Fact]:
        return [f for f in self.case.about(aspect) if f.name == name]

    def _image(self) -> list[str]:
        facts = {f.name: f for f in self.case.about("image")}
        eye, modality = facts.pop("eye", None), facts.pop("modality", None)
        rest = [sentence(f.text) for f in facts.values()]
        if modality is None:
            return ([self.phrases.say(self.bank["eye"], eye=eye.words)] if eye else []) + rest
        slots = {"modality": _noun(modality)} | ({"eye": eye.words} if eye else {})
        return [self.phrases.say(self.bank["image_eye" if eye else "image"], **slots), *rest]

    def _quality(self) -> list[str]:
        return [self._one_quality(fact) for fact in self.case.about("quality")]

    def _one_quality(self, fact: Fact) -> str:
        bank = self.bank["quality"]
        if fact.unit == AUTOMORPH:
            return self.phrases.say(bank["AutoMorph"][fact.value])
        if fact.name in ("quality", "ungradable") and fact.unit:
            return self.phrases.say(bank["graded" if fact.name == "quality" else "ungradable"], by=fact.unit, words=fact.words)
        if fact.name == "remark" and fact.text.startswith("the annotators noted"):
            return self.phrases.say(bank["remark"], words=fact.words)
        if fact.text == fact.words:
            return self.phrases.say(bank["recorded"], words=fact.words)
        return sentence(fact.text)

    def _disease(self) -> list[str]:
        facts = self.case.about("disease")
        if not facts:
            # readers expect a sentence about disease: it says that nothing is known, unless graders could not judge the
            # picture, or lesions are marked
            rejected = any(f.unit == AUTOMORPH and f.value == REJECTED for f in self.case.about("quality"))
            silent = rejected or self._facts("quality", "ungradable") or any(f.value for f in self.case.about("lesion"))
            return [] if silent else [self.phrases.say(self.bank["disease"]["unknown"])]
        return [*self._labels(facts), *(self._grade(f) for f in facts if f.unit in scales()), *self._limited()]

    def _limited(self) -> list[str]:
        return [self.phrases.say(self.bank["disease"]["limited"])] if self._facts("disease", LIMITED) else []

    def _labels(self, facts: tuple[Fact, ...]) -> list[str]:
        bank, sentences = self.bank["disease"], []
        for fact in facts:
            if fact.name in ("normal", "absent"):
                negated = fact.words.startswith("no ")
                sentences.append(self.phrases.say(bank["normal_no" if negated else "normal"], words=articled(fact.words)))
            elif not fact.unit and fact.text == fact.words:
                sentences.append(self.phrases.say(bank["recorded"], words=fact.words.rstrip(".")))
            elif not fact.unit and fact.source.row is None:  # a statement of the page
                sentences.append(self.phrases.say(bank["shows"], words=fact.words))
        for one, many, chosen in (
            ("diagnosis", "diagnoses", [f for f in facts if f.name == "diagnosis"]),
            ("flag", "flags", [f for f in facts if f.text.startswith("the image is labelled with")]),
        ):
            if chosen:
                sentences.append(
                    self.phrases.say(bank[one if len(chosen) == 1 else many], words=joined([f.words for f in chosen]))
                )
        return sentences

    def _grade(self, fact: Fact, short: bool = False) -> str:
        scale = scales()[fact.unit]
        bank = self.bank["short" if short else "disease"][scale["form"]]
        return self.phrases.say(
            bank, words=fact.words, of=scale["of"], value=fact.value, title=scale["title"], top=max(scale["levels"])
        )

    def _lesion(self) -> list[str]:
        facts = self.case.about("lesion")
        counts = [f for f in facts if is_count(f)]
        sentences = [text for count in counts for text in self._lesion_type(count)]
        marks = [f for f in facts if f.name.endswith("_box") and not any(c.name == f.name[:-4] for c in counts)]
        for fact in marks:
            sentences.append(self.phrases.say(self.bank["lesion"]["landmark"], words=fact.words, list=box_text(fact.value)))
        boxes = any(f.name.endswith("_box") for f in facts)
        return [*sentences, self.phrases.say(self.bank["lesion"]["frame"])] if boxes else sentences

    def _lesion_type(self, count: Fact) -> list[str]:
        """A sentence with the number of lesions and their boxes, then their places, then lesions without a box."""
        bank = self.bank["lesion"]
        if not count.value:
            return [self.phrases.say(bank["none"], many=count.unit)]
        of = {ending: self._facts("lesion", f"{count.name}{ending}") for ending in ENDINGS}
        list_, clustered = [box_text(f.value) for f in of["_box"]], bool(of["_clusters"])
        things = {"count": len(list_), "things": " clusters" if clustered else "", "list": joined(list_) if list_ else ""}
        where = self._raw(bank["largest" if of["_rest"] else "clusters" if clustered else "all"], **things) if list_ else ""
        counted = f"{count.value} {count.words if count.value == 1 else count.unit}"
        share = re.search(r"[\d.]+ %", of["_area"][0].text)[0] if of["_area"] else ""
        first = self.phrases.say(bank["one" if count.value == 1 else "some"], counted=counted, area=share, boxes=where)
        parts = (("_clusters",), ("_place",), ("_fovea", "_disc"), ("_rest", "_rest_share"), ("_rest_place",))
        texts = [[f.text for ending in part for f in of[ending]] for part in parts]
        return [first, *(sentence(joined(part)) for part in texts if part)]

    def _raw(self, templates: list[str], **slots: object) -> str:
        text = self.phrases.say(templates, **slots)  # a piece inside a sentence
        return f" {text}" if text[0].isalpha() else text

    def _disc(self) -> list[str]:
        return self.vessels.disc()

    def _vascular(self) -> list[str]:
        return self.vessels.vessels(self.rng.choice((2, 3, 3)))

    def _patient(self) -> list[str]:
        facts = {f.name: f for f in self.case.about("patient")}
        age, sex = facts.pop("age", None), facts.pop("sex", None)
        name = "_".join(word for word, fact in (("age", age), ("sex", sex)) if fact)
        slots = {"age": age.words if age else "", "sex": sex.words if sex else ""}
        sentences = [self.phrases.say(self.bank["patient"][name], **slots)] if name else []
        labels = [f for f in facts.values() if f.scope == "patient" and f.words]
        other = [sentence(f.text) for f in facts.values() if f not in labels]
        if labels:
            sentences.append(self.phrases.say(self.bank["patient"]["labels"], list=joined([f.words for f in labels])))
        return sentences + other

    def _notes(self) -> list[str]:
        return [self.phrases.say(self.bank["notes"], words=f.words.rstrip(".")) for f in self.case.about("notes")]

    # --- too many or too few turns, and single turns ---------------------------------------------------------------

    def _merged(self, topics: list[_Topic]) -> list[_Topic]:
        """Combines two topics: two related ones, else the last two."""
        for first, second in (("image", "quality"), ("disc", "vascular"), ("patient", "notes")):
            names = [topic.question for topic in topics]
            if first in names and second in names:
                one, other = topics[names.index(first)], topics[names.index(second)]
                both = _Topic(one.question, (*one.answer, *other.answer))
                return [both if topic is one else topic for topic in topics if topic is not other]
        last = _Topic(topics[-2].question, (*topics[-2].answer, *topics[-1].answer))
        return [*topics[:-2], last]

    def _split(self, topics: list[_Topic]) -> list[_Topic]:
        """Adds a topic: the eye in its own turn, else the later sentences of an answer, else an aspect without facts."""
        asked, image = [topic.question for topic in topics], topics[0] if topics else None
        modality = self._facts("image", "modality")
        if "image" in asked and "eye" not in asked and self._facts("image", "eye") and modality:
            eye = _Topic("eye", (self.phrases.say(self.bank["eye"], eye=self.case.eye), *image.answer[1:]))
            kind = self.phrases.say(self.bank["image"], modality=_noun(modality[0]))
            return [_Topic("image", (kind,)), eye, *topics[1:]]
        for i, (question, answer) in enumerate(topics):
            if len(answer) > 1:
                return [*topics[:i], _Topic(question, answer[:1]), _Topic("notes", answer[1:]), *topics[i + 1 :]]
        # notes may say something of the person: that nothing is known of them would be wrong then
        silent = ("lesion", "vascular") if self.case.about("notes") else ("patient", "lesion", "vascular")
        missing = next(name for name in silent if name not in asked or name == "vascular")
        return [*topics, _Topic(missing, (self.phrases.say(self.bank["nothing"][missing]),))]

    def _caption(self) -> list[str]:
        order = ("image", "quality", "disease", "lesion", "patient", "notes")
        known = [name for name in order if self.case.about(name)]
        sentences = [text for name in known for text in getattr(self, f"_{name}")()]
        return sentences or [self.phrases.say(self.bank["disease"]["unknown"])]

    def _consult(self) -> list[str]:
        """Whole sentences; where not all fit, the least important are left out. The kind of image comes first."""
        facts = self.case.about("disease")
        grades = [f for f in facts if f.unit in scales()]
        first = self._labels(facts) if facts else self._disease()
        image = self._image()
        candidates = [*first, *(self._grade(f, short=True) for f in grades), *self._limited(), *self._counted()]
        sentences: list[str] = []
        for text in [*candidates, *self._quality(), *image, *self._notes()]:
            if len(" ".join([*sentences, text]).split()) <= CONSULT_WORDS:
                sentences.append(text)
        sentences.sort(key=lambda text: text not in image)
        return sentences or [self.phrases.say(self.bank["disease"]["unknown"])]

    def _counted(self) -> list[str]:
        counts = [f for f in self.case.about("lesion") if is_count(f)]
        words = [f"{f.value or 'no'} {f.words if f.value == 1 else f.unit}" for f in counts]
        return [self.phrases.say(self.bank["short"]["some"], list=joined(words))] if words else []


def _noun(modality: Fact) -> str:
    """The kind of image for use within a sentence: with an article, and a small first letter unless it is an abbreviation."""
    words = modality.words
    return articled(words[:1].lower() + words[1:] if words[1:2].islower() else words)
