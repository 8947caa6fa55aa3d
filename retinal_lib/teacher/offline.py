"""Composes conversations from a fact sheet without a language model: phrases with slots and marks, as prompts ask for."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence

from retinal_lib.check.language import glossary
from retinal_lib.check.language.statements import is_suspicion
from retinal_lib.conversation import CONSULT_WORDS, TURNS
from retinal_lib.dataset.automorph import AUTOMORPH, REJECTED
from retinal_lib.dataset.fact_kinds import denies, scales
from retinal_lib.dataset.label_kinds import NOTHING
from retinal_lib.dataset.lesions.locations import CUP, FOVEA
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.display import listed
from retinal_lib.facts import LIMITED, Fact
from retinal_lib.slots.sheet import SPEC, FactSheet, Line, Slot, is_diagnosed, is_of_fundus
from retinal_lib.teacher import offline_measurements
from retinal_lib.teacher.offline_phrases import Phrases, Topic, aged, as_signs, bank, finding, lowered, pictured, placed

# the orders of a conversation's turns; the image itself mostly comes first
_ORDERS = "iqdlvpn idlvqpn ipqdlvn idlqvnp iqvdlpn diqlvpn qidlvpn pidqlvn".split()
_LEAST, _MOST = 3, TURNS["instruction"][1]
_VALUES = 3  # most values in an answer of a conversation
_WORDS = 85  # most words in any answer
_GRADE_VALUES = {"noun": (2, 0), "criterion": (3, 2), "clause": (3, 1), "presence": (0, 0)}  # form -> in full, in short
_SLOT, _MARK = re.compile(r"\{(\S+?)\}"), re.compile(r" \[[^]]*\]")
_PLURAL = re.compile(r"^signs\b|drusen$|[^siu]s$")  # drusen, laser scars; but not retinitis or a fundus


def version() -> int:
    """Returns the composer's version, from offline.yaml; it is a part of each request's key."""
    return bank()["version"]


def compose(sheet: FactSheet, track: str, style: str | None, seed: int) -> str:
    """Returns a conversation about the facts of a sheet, with slots and marks, in the format that prompts ask for; equal seeds
    give equal conversations."""
    composer = _Composer(sheet, random.Random(f"{seed}:{track}:{style}:{sheet.case.id}"))
    turns = composer.conversation() if track == "instruction" else composer.single(style)
    text = "\n".join(f"User: {question}\nAssistant: {answer}" for question, answer in turns)
    return glossary.spelled(text, sheet.spelling)


class _Composer:
    """The composer of one conversation; a fact is stated once."""

    def __init__(self, sheet: FactSheet, rng: random.Random):
        self.sheet, self.rng = sheet, rng
        self.lines: dict[str, list[Line]] = {}
        for line in sheet.lines:
            self.lines.setdefault(line.id[0], []).append(line)
        self.explained = list(sheet.explained)
        self.overview = 0  # so many turns tell which lesions there are
        self.framed = False  # whether it was said what the numbers of a box are
        self.limited = [line for line in self.about("d") if line.facts and line.facts[0].name == LIMITED]
        self.poor = any(_is_rejected(line.facts[0]) for line in self.about("q"))
        good = all(line.facts[0].words in bank()["good"] for line in self.about("q"))
        self.phrases = Phrases(rng, thorough=good and not self.limited)
        self.noted_alone = any(line.text.startswith(SPEC["no diagnosis"] + SPEC["beyond notes"]) for line in self.about("d"))

    def about(self, letter: str) -> list[Line]:
        """The lines of an aspect."""
        return self.lines.get(letter, [])

    def tell(self, name: str, *lines: Line, **slots: str) -> str:
        """A sentence that rests on lines: those of which it shows no value are its mark."""
        text = self.phrases.say(name, **slots)
        marks = [line.id for line in lines if f"{{{line.id}" not in text]
        return f"{text[:-1]} [{', '.join(marks)}]{text[-1]}" if marks else text

    # --- a conversation, and single turns ---------------------------------------------------------------------------------

    def conversation(self) -> list[tuple[str, str]]:
        """Returns three to six turns: all aspects that have facts, with some of their measurements and boxes."""
        sections = {
            "i": self._image(),
            "q": self._quality(),
            "d": self._disease(),
            "l": self._lesions(),
            "v": offline_measurements.topics(self.about("v"), self.phrases),
            "p": self._patient(),
            "n": self._notes(),
        }
        most = self.rng.choice((4, 5, 5, 6, 6))
        while sum(map(len, sections.values())) > most and self._reduced(sections):
            pass
        if sum(map(len, sections.values())) < _LEAST:
            self._extended(sections)
        order = [topic for letter in self.rng.choice(_ORDERS) for topic in sections[letter]]
        while len(order) > _MOST:
            order[-2:] = [_both(*order[-2:])]
        return [self._turn(topic, first=not i) for i, topic in enumerate(map(self._with_explanation, order))]

    def _with_explanation(self, topic: Topic) -> Topic:
        """The topic, and after it the explanation of a term that its answer is the first to name."""
        answer = _SLOT.sub(lambda name: self.sheet.slots[name[1]][1].text, " ".join(topic.answer))
        entries = glossary.named([answer]) if self.explained else ()
        named = {glossary.spelled(says, self.sheet.spelling) for entry in entries for says in entry.says}
        for line in self.explained:
            if line.text in named and len(f"{answer} {line.text}".split()) <= _WORDS:
                self.explained.remove(line)
                return topic._replace(answer=(*topic.answer, f"{{{line.id}}}"))
        return topic

    def _reduced(self, sections: dict[str, list[Topic]]) -> bool:
        """Leaves out a topic, or makes one of two. False: what is left is told in turns of its own."""
        if len(sections["v"]) > 2:
            sections["v"].pop()
        elif sections["i"] and sections["q"]:
            sections["i"], sections["q"] = [_both(sections["i"][0], sections["q"][0])], []
        elif len(sections["l"]) > self.overview + 1:  # where some lie is told
            sections["l"].pop()
        elif len(sections["v"]) > 1:
            sections["v"].pop()
        elif len(sections["p"]) > 1:
            last = sections["p"].pop()
            of_eye = () if last.questions[0][0] == "numbers" else ("person_eye", "")
            if _values_of(both := _both(sections["p"][-1], last, of_eye)) <= _VALUES:  # else numbers on record are left out
                sections["p"][-1] = both
        elif sections["p"] and sections["n"]:
            asked = "notes" if sections["p"][0].questions[0][0] == "numbers_eye" else "person_eye"
            sections["p"], sections["n"] = [_both(sections["p"][0], sections["n"][0], (asked, ""))], []
        else:
            return False
        return True

    def _extended(self, sections: dict[str, list[Topic]]) -> None:
        """Adds turns where little is known: the eye in its own, then what nothing is known of."""
        modality, eye = self._modality(), self._eye()
        if modality and eye:
            others = [text for topic in sections["i"] for text in topic.answer[1:]]
            kind = self.tell("image", modality, **pictured(modality.facts[0].words))
            sections["i"] = [
                Topic((("image", ""),), (kind,)),
                Topic((("eye", ""),), (self.tell("eye", eye, eye=eye.facts[0].words), *others)),
            ]
        silent = [("v", "no_vascular", "vessels"), ("p", "no_patient", "person")]
        for letter, answer, question in silent[::-1] if not self.about("n") else silent:
            if sum(map(len, sections.values())) < _LEAST and not sections[letter]:
                sections[letter] = [Topic(((question, ""),), (self.phrases.say(answer),))]

    def _turn(self, topic: Topic, first: bool) -> tuple[str, str]:
        name, word = self.rng.choice(topic.questions)
        answer = " ".join(topic.answer)
        if word:
            answer = f"{word}, {lowered(answer)}" if self.rng.random() < 0.6 else f"{word}. {answer}"
        return self.phrases.ask(name, first, **topic.named), answer

    def single(self, style: str | None) -> list[tuple[str, str]]:
        """Returns one turn: a caption tells every line, a consultation the most important in at most 50 words."""
        sentences = self._consult() if style == "consult" else self._caption()
        return [(self.phrases.ask(style or "caption", first=True), " ".join(sentences))]

    def _caption(self) -> list[str]:
        lead, disease = self._lead(), self._told(self._disease(short=self.rng.random() < 0.5))
        counted, details = self._counted(self._counts()), [t for c in self._counts() for t in self._detail(c, 2)]
        landmarks = self._told(self._landmarks())
        rest = self._told([*self._patient(), *self._notes()])
        always = [*lead, *disease, *counted, *rest]
        chosen = [*self._fitting(always, details + landmarks)]
        if self.rng.random() < 0.3:  # the person first
            return [*rest, *(text for text in chosen if text not in rest)]
        return [text for text in chosen if text not in rest] + rest

    def _lead(self) -> list[str]:
        """The picture and its quality."""
        modality, eye, levels = self._modality(), self._eye(), self.about("q")
        one = len(levels) == 1 and levels[0].facts[0].words in ("good", "usable")
        if not (modality and one and len(self.about("i")) == 1 + bool(eye)) or self.rng.random() < 0.3:
            return self._told([*self._image(), *self._quality()])
        side = f" of the {eye.facts[0].words} eye" if eye else ""
        lines = (modality, *([eye] if eye else []), *levels)
        return [self.tell("lead", *lines, side=side, words=levels[0].facts[0].words, **pictured(modality.facts[0].words))]

    def _fitting(self, always: list[str], more: list[str], most: int = _WORDS) -> list[str]:
        """All of the first sentences, and of the others those for which there is room."""
        room = most - sum(map(self._size, always))
        for text in more:
            room -= self._size(text)
            if room < 0:
                break
            always.append(text)
        return always

    def _size(self, text: str) -> int:
        """The words of a sentence once its slots are filled."""
        slots = (self.sheet.slots[name][1] for name in _SLOT.findall(text))
        return len(_MARK.sub("", text).split()) + sum(slot.text.count(" ") for slot in slots)

    @staticmethod
    def _told(topics: Iterable[Topic]) -> list[str]:
        return [text for topic in topics for text in topic.answer]

    def _consult(self) -> list[str]:
        """Whole sentences; where not all fit, the least important are left out. The kind of image comes first."""
        image = self._told(self._image())
        disease = self._told(self._disease(short=True))
        counted = self._counted(self._counts())
        sentences: list[str] = []
        room = CONSULT_WORDS
        for text in [*disease, *counted, *self._told(self._quality()), *image, *self._told(self._notes())]:
            if self._size(text) <= room:
                sentences.append(text)
                room -= self._size(text)
        return sorted(sentences, key=lambda text: text not in image)

    # --- the picture ------------------------------------------------------------------------------------------------------

    def _modality(self) -> Line | None:
        return next((line for line in self.about("i") if line.facts[0].name == "modality"), None)

    def _eye(self) -> Line | None:
        return next((line for line in self.about("i") if line.facts[0].name == "eye"), None)

    def _image(self) -> list[Topic]:
        modality, eye = self._modality(), self._eye()
        others = [_sentence(line) for line in self.about("i") if line not in (modality, eye)]
        if modality and eye:
            text = self.tell("image_eye", modality, eye, eye=eye.facts[0].words, **pictured(modality.facts[0].words))
            return [Topic((("image", ""), ("image_eye", "")), (text, *others))]
        if modality:
            return [Topic((("image", ""),), (self.tell("image", modality, **pictured(modality.facts[0].words)), *others))]
        if eye:
            return [Topic((("eye", ""),), (self.tell("eye", eye, eye=eye.facts[0].words), *others))]
        return [Topic((("image", ""),), tuple(others))] if others else []

    def _quality(self) -> list[Topic]:
        lines = self.about("q")
        noted = [line for line in lines if line.facts[0].name == "remark"]
        if any("quality" in line.facts[0].words for line in noted):  # a person's word counts more than a program's
            lines = [line for line in lines if line.facts[0].unit != AUTOMORPH]
        sentences, questions = [], [("quality", "")]
        for line in lines:
            if line not in noted:
                text, more = self._level(line)
                sentences.append(text)
                questions += more
        sentences += [self.tell("quality_noted", line, words=line.facts[0].words) for line in noted]
        return [Topic(tuple(questions), tuple(sentences))] if sentences else []

    def _level(self, line: Line) -> tuple[str, list[tuple[str, str]]]:
        """A sentence on the quality, and the questions that it answers by yes or no."""
        fact = line.facts[0]
        if line.slots:
            name = "quality_word" if fact.words in bank()["quality_words"] else "quality_recorded"
            good = [("quality_good", "Yes")] if fact.words in bank()["good"] else []
            return self.tell(name, line, value=_slot(line)), good
        if _is_rejected(fact):
            if self.limited:
                return self.tell("quality_limited", line, *self.limited), [("quality_good", "No")]
            return self.tell("quality_poor", line), [("quality_good", "No"), ("quality_enough", "No")]
        enough = [("quality_enough", "Yes")] if fact.words in ("good", "usable", "gradable") else []
        if fact.words == "good" and self.rng.random() < 0.6:
            return self.tell("quality_good", line), [("quality_good", "Yes"), *enough]
        good = [("quality_good", "Yes")] if fact.words == "good" else []
        name = "gradable" if fact.words == "gradable" else "quality"
        return self.tell(name, line, words=fact.words), [*good, *enough]

    # --- disease ----------------------------------------------------------------------------------------------------------

    def _disease(self, short: bool = False) -> list[Topic]:
        lines = [line for line in self.about("d") if line not in self.limited]
        scope = [line for line in lines if "of other diseases" in line.text]
        lines = [line for line in lines if line not in scope and line.facts]
        lines.sort(key=lambda line: denies(line.facts[0]))
        if not lines:
            return [self._unknown()] if self.about("d") else []
        grades = [line for line in lines if line.facts[0].unit in scales()]
        labels = [line for line in lines if line not in grades]
        denied = [line for line in labels if denies(line.facts[0])]
        suspected = [line for line in labels if line not in denied and is_suspicion(line.facts[0].words)]
        graded, sure = list(self._grades(grades, short)), [line for line in grades if not denies(line.facts[0])]
        told = [*self._labels([line for line in labels if line not in (*denied, *suspected)]), *graded[: len(sure)]]
        told += [*self._labels(suspected), *graded[len(sure) :], *self._labels(denied)]  # what is sure comes first
        after = []
        if scope and (short or denies(lines[0].facts[0]) or self.rng.random() < 0.6):
            of = scope[0].text.removeprefix("only ").partition(" judged;")[0].replace("risk of", "the risk of")
            kinds = {"only": "scope", "nothing is known": "scope_open", "nothing is said": "scope_unsaid"}
            name = next(name for begins, name in kinds.items() if scope[0].text.startswith(begins))
            after.append(self.tell(f"{name}{'_noted' if scope[0].text.endswith('noted') else ''}", *scope, of=of))
        if self.limited and not self.poor:
            after.append(self.tell("limited", *self.limited))
        of_fundus = [("disease_fundus", "")] if any(is_of_fundus(line.facts[0]) for line in lines) else []
        questions = (("disease", ""), *of_fundus, *self._yes_no([line.facts[0] for line in lines], bool(scope)))
        if len(told) == 2 and len(grades) == 2 and not short and self.rng.random() < 0.5:
            grades.sort(key=lambda line: denies(line.facts[0]))
            first, second = (next(self._grades([line], False)) for line in grades)  # each in full
            return [Topic(questions, (first, *after)), Topic((("disease_more", ""),), (second,))]
        return [Topic(questions, (*told, *after))]

    def _unknown(self) -> Topic:
        """That no diagnosis is known, or none beyond the notes, which follow."""
        found = any(line.slots for line in self._counts())  # whether the eye is healthy is then no open question
        name = f"unknown{'_lesions' if found else ''}{'_noted' if self.noted_alone else ''}"
        text = self.tell(name, *self.about("d"))
        asked = (("unknown", ""),) if found or self.noted_alone else (("unknown", ""), ("unknown_no", "No"))
        return Topic(asked, (text, *(self._remarks("noted", self._size(text)) if self.noted_alone else ())))

    def _yes_no(self, facts: list[Fact], scoped: bool) -> list[tuple[str, str]]:
        denied = [denies(fact) for fact in facts]
        listed_only = scoped or any(fact.words == NOTHING for fact in facts)  # others may be there
        if any(fact.text == fact.words or fact.name == "absent" for fact in facts) or (listed_only and all(denied)):
            return []  # that one disease is absent answers no question about all
        if all(denies(fact) or is_suspicion(fact.words) or is_diagnosed(fact) for fact in facts) and not all(denied):
            return []  # neither yes nor no, or nothing that can be seen
        if not all(denied):
            disease = any(not denies(fact) and fact.words not in bank()["no_disease"] for fact in facts)
            return [("disease_any" if disease else "unusual_any", "Yes"), ("unusual_any", "Yes"), ("disease_normal", "No")]
        normal = all(fact.name == "normal" for fact in facts)
        denying = [("disease_any", "No"), ("unusual_any", "No")]
        return [*denying, ("disease_normal", "Yes")] if normal else denying

    def _labels(self, lines: list[Line]) -> Iterator[str]:
        named = []
        for line in lines:
            fact = line.facts[0]
            if line.slots:
                yield self.tell("disease_recorded", line, value=_slot(line))
            elif is_diagnosed(fact):
                yield self.tell("diagnosed", line, words=fact.words)
            elif fact.name in ("normal", "absent"):
                name = "normal_no" if fact.words.startswith("no ") else "normal"
                yield self.tell(name, line, words=as_signs(finding(fact.words)))
            elif fact.words.startswith("suspected "):
                words = fact.words.removeprefix("suspected ")
                yield self.tell("suspected", line, words=finding(words), **{"is": "are" if _PLURAL.search(words) else "is"})
            elif is_suspicion(fact.words):
                yield self.tell("suspicion", line, words=finding(fact.words))
            else:
                named.append(line)
        if named:
            words = listed([finding(line.facts[0].words) for line in named])
            many = "plural" if _PLURAL.search(words) else "diagnosis"
            yield self.tell(many if len(named) == 1 else "diagnoses", *named, words=words)

    def _grades(self, lines: list[Line], short: bool) -> Iterator[str]:
        room = _VALUES
        for i, line in enumerate(lines):
            scale = scales()[line.facts[0].unit]
            parts = {slot.name.partition(".")[2]: _ref(slot) for slot in line.slots}
            full, least = _GRADE_VALUES[scale["form"]]
            others = sum(_GRADE_VALUES[scales()[other.facts[0].unit]["form"]][1] for other in lines[i + 1 :])
            in_full = not short and full + others <= room and self.rng.random() < 0.7
            room -= full if in_full else least
            name = f"{scale['form']}_no" if scale["form"] == "noun" and denies(line.facts[0]) else scale["form"]
            name = name if in_full or scale["form"] == "presence" else f"{name}_short"
            yield self.tell(name, line, words=as_signs(line.facts[0].words), of=scale["of"], **parts)

    # --- lesions ----------------------------------------------------------------------------------------------------------

    def _counts(self) -> list[Line]:
        return [line for line in self.about("l") if is_count(line.facts[0])]

    def _lesions(self) -> list[Topic]:
        """An overview, a turn for the types that it has no room for, and turns on places and boxes."""
        lines = self._counts()
        found, absent = [line for line in lines if line.slots], [line for line in lines if not line.slots]
        topics = []
        if lines:
            word = "Yes" if found else "No"
            answer = (*self._counted([*found[:_VALUES], *absent]),)
            topics.append(Topic((("lesion", ""), ("lesion_any", word)), answer))
        self.overview = len(topics) + bool(found[_VALUES:])
        if found[_VALUES:]:
            topics.append(Topic((("lesion_rest", "Yes"),), (*self._counted(found[_VALUES:]),)))
        details = self._landmarks() if len(found) != 1 else []
        for line in found:
            count = line.facts[0]
            many = count.value != 1
            if sentences := list(self._detail(line, _VALUES)):
                name = "lesion_more" if many else "lesion_one"
                details.append(Topic(((name, ""),), tuple(sentences), {"many": count.unit, "one": count.words}))
        self.rng.shuffle(details)
        return [*topics, *details[:2]]

    def _counted(self, lines: Sequence[Line]) -> list[str]:
        """Sentences with the numbers of lesions."""
        found, absent = [line for line in lines if line.slots], [line for line in lines if not line.slots]
        sentences = []
        if found:
            counts = [(line, line.facts[0]) for line in found]
            words = [f"{_slot(line)} {fact.words if fact.value == 1 else fact.unit}" for line, fact in counts]
            single = counts[0][1].value == 1
            sentences.append(self.tell("lesion_single" if single else "lesion_some", *found, list=listed(words)))
        if absent:
            words = listed([f"no {line.facts[0].unit}" for line in absent])
            sentences.append(self.tell("lesion_none", *absent, list=words))
        return sentences

    def _detail(self, line: Line, values: int) -> Iterator[str]:
        """Sentences on where the lesions of a type lie, with at most so many values."""
        count, slots = line.facts[0], {slot.name.partition(".")[2]: slot for slot in line.slots}
        one, many = count.words, count.unit
        if not line.slots:
            return
        if places := [fact for fact in line.facts if fact.name.endswith("_place")]:
            kind, place = placed(places, count.value)
            yield self.tell(kind, line, one=one, many=many, place=place)
        single = "_one" if count.value == 1 else ""
        if "share" in slots:
            values -= 1
            yield self.tell(f"share{single}", line, share=_ref(slots["share"]))
        for part, landmark in (("fovea", "the fovea"), ("disc", "the centre of the optic disc")):
            if part in slots and values > 1:
                values -= 1
                yield self.tell(f"near{single}", line, distance=_ref(slots[part]), landmark=landmark)
        boxes = [slot for part, slot in slots.items() if part.startswith("box")][: min(values, 2)]
        if boxes:
            name = "box_one" if single else "box" if len(boxes) == 1 else "boxes"
            yield self.tell(name, line, boxes=listed([_ref(slot) for slot in boxes]) + self._frame())

    def _frame(self) -> str:
        if self.framed:
            return ""
        self.framed = True
        return " " + self.phrases.say("frame")

    def _landmarks(self) -> list[Topic]:
        topics = []
        for line in self.about("l"):
            fact = line.facts[0]
            if fact.unit == "point":
                text = self.tell("landmark_centre", line, words=fact.words, place=_slot(line))
            elif not is_count(fact):
                text = self.tell("landmark", line, words=fact.words, boxes=_slot(line) + self._frame())
            else:
                continue
            asked = {FOVEA: "fovea", CUP: "cup"}.get(fact.words, "landmark")
            topics.append(Topic(((asked, ""),), (text,), {"words": fact.words}))
        return topics

    # --- the person, and notes --------------------------------------------------------------------------------------------

    def _patient(self) -> list[Topic]:
        by_name = {line.facts[0].name: line for line in self.about("p")}
        age, sex = by_name.pop("age", None), by_name.pop("sex", None)
        topics = []
        if age or sex:
            topics.append(Topic((("person", ""), ("person_any", "Yes")), (self._person(age, sex),)))
        for asked, of_eye in (("numbers", False), ("numbers_eye", True)):
            told = [self._on_record(line) for line in by_name.values() if _is_of_eye(line.facts[0]) == of_eye]
            topics += [Topic(((asked, ""),), tuple(told[i : i + _VALUES])) for i in range(0, len(told), _VALUES)]
        return topics

    def _person(self, age: Line | None, sex: Line | None) -> str:
        of_sex, of_age = {"sex": sex.facts[0].words} if sex else {}, {"age": _slot(age)} if age else {}
        if not (age and sex and age.facts[0].value >= bank()["adult"]):
            return self.tell("_".join((*of_age, *of_sex)), *filter(None, (age, sex)), **of_sex, **of_age)
        article, man = aged(age.slots[0].text), "man" if sex.facts[0].words == "male" else "woman"
        return self.tell("adult", age, sex, article=article, man=man, **of_age)

    def _on_record(self, line: Line) -> str:
        """A number that a page names, or free text."""
        if isinstance(line.facts[0].value, float):
            return self.tell("number", line, words=line.facts[0].words, value=_slot(line))
        return self.tell("notes", line, value=_slot(line))

    def _notes(self) -> list[Topic]:
        told = [] if self.noted_alone else self._remarks("notes")
        return [Topic((("notes", ""), ("notes_yes", "Yes")), tuple(told))] if told else []

    def _remarks(self, first: str, before: int = 0) -> list[str]:
        """The notes for which there is room after so many words, the first of them by the phrases `first`."""
        names = [first, *["notes"] * len(self.about("n"))]
        told = [self.tell(name, line, value=_slot(line)) for name, line in zip(names, self.about("n"), strict=False)]
        return self._fitting([], told, _WORDS - before)[:_VALUES]


def _values_of(topic: Topic) -> int:
    return " ".join(topic.answer).count("{")


def _both(one: Topic, other: Topic, asked: tuple[str, str] | tuple[()] = ()) -> Topic:
    """Two topics as one, which is asked for as the first is, or by a question of both."""
    return one._replace(answer=(*one.answer, *other.answer), questions=(asked,) if asked else one.questions)


def _ref(slot: Slot) -> str:
    return f"{{{slot.name}}}"


def _slot(line: Line) -> str:
    return _ref(line.slots[0])


def _sentence(line: Line) -> str:
    """A line of the picture as a sentence of its own."""
    text = line.facts[0].text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]} [{line.id}]."


def _is_of_eye(fact: Fact) -> bool:
    """Whether a number on record is of the eye, and not of the person."""
    return isinstance(fact.value, float) and fact.scope != "patient"


def _is_rejected(fact: Fact) -> bool:
    return fact.name == "ungradable" or (fact.unit == AUTOMORPH and fact.value == REJECTED)
