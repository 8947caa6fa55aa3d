"""Whether a text affirms a thing, negates it or leaves it uncertain."""

from typing import NamedTuple

from retinal_lib.check.language.lexicon import ParsedText, Term, kept, word_lists

WORDS = word_lists("negation")
AFFIRMED, NEGATED, UNCERTAIN = "affirmed", "negated", "uncertain"
_TOPIC_ENDS = frozenset(topic.split()[-1] for topic in WORDS.topics)
_COLONS = (":", "–", "—")
SUSPECTING = WORDS.suspecting
SUSPECTED = "suspected"  # of labels and notes: affirmed, but not for certain


class Mention(NamedTuple):
    """A named condition (several where the name is ambiguous), with its polarity and sentence."""

    conditions: tuple[str, ...]
    term: Term
    polarity: str
    sentence: range


class Cues:
    """The cues of negation and uncertainty in one text, by their first token."""

    def __init__(self, text: ParsedText):
        self.words, self.sentences, self.by_kind = text.words, text.sentences, text.by_kind
        self.at: dict[int, Term] = {t.first: t for t in text.of("cues")}
        self.conditions = {t.first: t for t in text.of("conditions")}
        self._named = {t.last: t for t in self.conditions.values()}  # by the token after it
        self.generic = [t.first for t in text.of("generic")]
        self.modal, self.says = text.has(WORDS.modals), text.has(WORDS.saying)
        self._ends = {t.last: t for t in (*self.at.values(), *self.conditions.values())}
        self._stated: dict[tuple[int, range, int], str] = {}  # what was read, by first token, sentence and reach

    def polarity(self, term: Term, sentence: range, reach: int = 99) -> str:
        """Returns the polarity of a term; `reach` is the number of words before it that may negate it."""
        if (term.first, sentence, reach) not in self._stated:
            chain = [term]  # what the same is said of, the earliest is read first: a list of names is no deep recursion
            while (earlier := self._likened(chain[-1], sentence)) and (earlier.first, sentence, reach) not in self._stated:
                chain.append(earlier)
            for each in reversed(chain):
                self._stated[each.first, sentence, reach] = self._state(each, sentence, reach, earlier)
                earlier = each
        return self._stated[term.first, sentence, reach]

    def _state(self, term: Term, sentence: range, reach: int, earlier: Term | None) -> str:
        """The polarity of a term; `earlier`: the one before it of which the same is said."""
        if self.generic and any(sentence.start <= g < sentence.stop for g in self.generic):
            return UNCERTAIN
        if self.words[sentence.start] == "for" and (len(sentence) < 6 or term.first == sentence.start + 1):
            return UNCERTAIN  # For hard exudates.
        if self.words[term.last : term.last + 1] == ["related"]:
            return UNCERTAIN  # age-related, myopia-related
        if self._graded_alone(term, sentence) or self._unsaid(term, sentence):
            return UNCERTAIN
        if (comment := self._comment(term, sentence)) is not None:
            return self._comments(comment)
        if self._supposed(term, sentence):
            return UNCERTAIN
        if earlier is not None:
            return self.polarity(earlier, sentence, reach)
        after = self._after(term.last, sentence.stop)
        before = None if after == UNCERTAIN else self._before(term.first, max(sentence.start, term.first - reach))
        if before == NEGATED and self._unknown(term.last, sentence.stop):
            return UNCERTAIN
        return after or before or self._told_later(term.last, sentence.stop) or AFFIRMED

    def _graded_alone(self, term: Term, sentence: range) -> bool:
        """Whether a sentence says what a scale grades, or excepts the term: the scale orders retinopathy by severity; diseases
        other than retinopathy."""
        words = self.words
        if words[term.first - 2 : term.first] == ["other", "than"] and term.first - 2 >= sentence.start:
            return True
        after = words[term.last : min(term.last + 4, sentence.stop)]
        if after and after[0] in WORDS.auxiliaries and not WORDS.checking.isdisjoint(after) and "not" not in after:
            return True  # referable oedema was checked, too
        before = words[sentence.start : term.first]
        return "scale" in before and not WORDS.ordering.isdisjoint(before[before.index("scale") + 1 :])

    def _unsaid(self, term: Term, sentence: range) -> bool:
        """Whether a term is what nobody can say: I can neither confirm nor rule out any disease; I can name no disease."""
        words, start = self.words, sentence.start
        for k in range(start, term.first) if self.says else ():
            if words[k] not in WORDS.saying:
                continue
            unable = not WORDS.unable.isdisjoint(words[max(start, k - 6) : k])
            able = "can" in words[max(start, k - 2) : k] or words[k] in ("know", "say", "tell")
            unable = unable or (able and not {"no", "none", "nothing", "little"}.isdisjoint(words[k + 1 : k + 3]))
            if unable and not any(words[i] in (";", ":", "but") for i in range(k, term.first)):
                return True
        return False

    def _told_later(self, at: int, stop: int) -> str | None:
        """The polarity after an apposition, or of what is said of 'it': X, also called Y, are not there; X, and it isn't."""
        words, k = self.words, at
        while k < stop and words[k] == ",":
            first = k + 1 + (words[k + 1 : k + 2] in (["and"], ["but"], ["yet"]))
            if words[first : first + 1] in (["neither"], ["none"]):  # I looked for X and Y, and neither is there
                return NEGATED if self._comments(range(first, stop)) == NEGATED else None
            end = next((i for i in range(first, stop) if words[i] in (",", ";", ":")), stop)
            if end - first < 6 and words[end - 1] == "neither":  # I looked for X and Y, and the picture has neither
                return NEGATED
            pronoun = words[first : first + 1] in (["it"], ["they"], ["these"], ["those"])
            verb = first + pronoun
            if verb < end and (words[verb] in WORDS.auxiliaries or "n't" in words[verb] or words[verb] == "cannot"):
                stated = self._comments(range(verb, end))
                return stated if stated == NEGATED else None
            k = end
        return None

    def _comment(self, term: Term, sentence: range) -> range | None:
        """What is said of a term that is only the topic: as far as retinopathy is concerned, ...; retinopathy? ..."""
        words, at = self.words, term.first
        while at > sentence.start and (at in self._named or words[at - 1] in WORDS.led):
            at = self._named[at].first if at in self._named else at - 1
        ends = range(at, term.first + 1)
        if at == sentence.start and words[at : term.first][:1] == ["of"]:  # Of haemorrhages there is no trace.
            return range(term.last, sentence.stop)
        led = [end for end in ends if words[end - 1] in _TOPIC_ENDS and end > sentence.start]
        if any(" ".join(words[max(sentence.start, end - size) : end]) in WORDS.topics for end in led for size in (1, 2, 3, 4)):
            return range(term.last, sentence.stop)
        if words[sentence.stop : sentence.stop + 1] != ["?"]:
            return None
        reply = next((s for s in self.sentences if s.start > sentence.stop), range(0))
        replied = bool(reply) and words[reply.start] in ("yes", "no", "none", "not", "nothing")
        fragment = len(sentence) < 7 and WORDS.asking.isdisjoint(self._in(sentence))
        return reply if replied or fragment else None

    def _likened(self, term: Term, sentence: range) -> Term | None:
        """The condition before a term of which the same is said: drusen are absent, and so is oedema."""
        words = self.words
        at = next((k for k in range(term.first, sentence.start, -1) if words[k - 1] not in WORDS.led), sentence.start)
        if at - 2 < sentence.start or words[at - 2] not in ("so", "as") or words[at - 1] not in WORDS.auxiliaries:
            return None
        return next((t for first, t in sorted(self.conditions.items(), reverse=True) if sentence.start <= first < at), None)

    def _in(self, tokens: range) -> list[str]:
        return self.words[tokens.start : tokens.stop]

    def _comments(self, comment: range) -> str:
        """Whether a comment denies or affirms its topic: nothing was found; yes; this eye is clear."""
        k, words = comment.start, self.words
        while k in comment and (k in self.conditions or words[k] in WORDS.led or words[k] in WORDS.before_comment):
            k = self.conditions[k].last if k in self.conditions else k + 1
        comment = range(k, comment.stop)
        said = {j: set(self.at[j].values) for j in comment if j in self.at}
        if any(values & {UNCERTAIN, "uncertain_after"} for values in said.values()):
            return UNCERTAIN
        denials = [self.at[j].last for j, values in said.items() if values & {NEGATED, "negated_after"}]
        for last in (*denials, *(j + 1 for j in comment if words[j] in WORDS.clear)):
            stop = next((i for i in range(last, comment.stop) if words[i] in WORDS.ends), comment.stop)
            if WORDS.existence.issuperset(words[last:stop]):
                return NEGATED
        affirms = words[k : k + 1] == ["yes"] or (not denials and not WORDS.existing.isdisjoint(self._in(comment)))
        return AFFIRMED if affirms else UNCERTAIN

    def _supposed(self, term: Term, sentence: range) -> bool:
        """Whether a sentence says what may come or what is generally so: new vessels may grow, they can bleed. A sentence that
        something may be, may show or may point to something is about this eye."""
        words = self.words
        if not self.modal:
            return False
        for k in range(max(sentence.start, term.first - 12), min(sentence.stop, term.last + 10, len(words) - 1)):
            if words[k] not in WORDS.modals or term.first <= k < term.last or (k and words[k - 1] in WORDS.persons):
                continue
            following = words[k + 1] if words[k + 1] not in WORDS.adverbs else words[min(k + 2, len(words) - 1)]
            if following not in WORDS.after_modal or words[k] in ("should", "would"):
                return True
        return False

    def _unknown(self, at: int, stop: int) -> bool:
        """Whether a negation is about knowledge: neither retinopathy nor oedema could be graded, no grade is available."""
        for k in range(at, min(stop, at + 9)):
            if self.words[k] in WORDS.knowing:
                return True
            if self.words[k] in (";", ":", "nothing") or (k in self.at and "break" in self.at[k].values):
                return False  # there are no soft exudates, and nothing else was judged
        return False

    def _before(self, at: int, start: int) -> str | None:
        """The polarity from the words before a term; a negation ends with its clause."""
        words, k = self.words, at
        if k > start and (words[k - 1][0].isdigit() or words[k - 1] == "non"):
            return NEGATED if words[k - 1] in ("0", "non") else None  # 0 haemorrhages, non-glaucomatous
        verb = False
        while k > start:
            if words[k - 1] == ")" and "(" in words[start : k - 1]:  # words in brackets have no effect beyond them
                k = max(i for i in range(start, k - 1) if words[i] == "(")
                continue
            term = self._ends.get(k)
            size = 1 if term is None else term.last - term.first
            k -= size
            if term is None:
                if words[k] == ";" or (words[k] == ":" and verb):
                    return None
                if words[k] == "," and verb:
                    return None
                continue
            if term.kind == "conditions":
                if verb:  # another clause
                    return None
                continue
            values = term.values
            if "break" in values:
                return None
            if NEGATED in values:
                return None if self._particle(k, start) else NEGATED
            if UNCERTAIN in values:
                return UNCERTAIN
            verb = verb or "verb" in values
        return None

    def _particle(self, k: int, start: int) -> bool:
        """Whether the negation at token k answers a question by itself: No, ..."""
        return k == start and self.words[k + 1 : k + 2] in ([","], ["–"], ["—"], [":"], [";"])

    def _after(self, at: int, stop: int) -> str | None:
        """The polarity from the words after a term: 'is not seen', 'cannot be judged', ': none'."""
        words, k = self.words, at
        while k < min(stop, at + 14):
            term = self.at.get(k)
            if term is not None:
                values = term.values
                if "uncertain_after" in values or (UNCERTAIN in values and words[k] != "if"):
                    return UNCERTAIN
                both = "negated_after" in values and NEGATED in values and term.last - term.first > 1
                if both and any(c in self.conditions for c in range(term.last, min(term.last + 5, stop))):
                    return None  # I cannot find drusen: of what follows
                if "negated_after" in values or (NEGATED in values and self._denies(k)):
                    return NEGATED if self._linked(at, k) else None
                if words[k] == "but" and k + 1 in self.at and {NEGATED, "negated_after"} & set(self.at[k + 1].values):
                    k += 1  # looked for but not found
                    continue
                if "break" in values or NEGATED in values:
                    return None
                k = term.last
                continue
            if k in self.conditions:
                k = self.conditions[k].last
                continue
            if words[k] in ";.":
                return None
            if words[k] == "0" and words[k - 1] in _COLONS and words[k + 1 : k + 2] != ["–"]:
                return NEGATED if self._linked(at, k) else None
            k += 1
        return None

    def _denies(self, k: int) -> bool:
        """Whether the negation at token k negates what is before it: 'are not', 'aren't', ': none'."""
        word, before = self.words[k], self.words[k - 1]
        if before in WORDS.having:
            return not WORDS.existing.isdisjoint(self.words[k + 1 : k + 3])
        if before in _COLONS and word == "not":
            return True
        if before in _COLONS and self.words[k + 1 : k + 2] not in ([], ["."], [","], [";"], [")"], ["\n"]):
            return False
        return "n't" in word or (
            word in WORDS.following and before in ("is", "are", "was", "were", "be", "been", *_COLONS, "does", "do", "remain")
        )

    def _linked(self, at: int, k: int) -> bool:
        """Whether only a verb or further members of a list lie between token `at` and the negation at token k; of 'X, and Y is
        absent' Y alone is denied."""
        i, words, named = at, self.words, any(t.last == at for t in self.conditions.values())
        single = not {"is", "was", "isn't", "wasn't"}.isdisjoint(words[k - 1 : k + 1]) and "or" not in words[at:k]
        while i < k:
            if i in self.conditions:
                if single and "," in words[at:i]:
                    return False
                i = self.conditions[i].last
            elif words[i] in WORDS.links or (named and words[i] in WORDS.neutral) or words[i - 1 : i + 1] == ["for", "but"]:
                i += 1
            else:
                return (
                    i > at
                    and any(self.words[j] in ("is", "are", "was", "were") for j in range(i, k))
                    and "," not in self.words[at:k]
                )
        return True


@kept
def cues(text: ParsedText) -> Cues:
    """Finds the cues of a text."""
    return Cues(text)


def polarity(text: ParsedText, term: Term, reach: int = 99) -> str:
    """Returns whether a text affirms a term, negates it or leaves it uncertain; `reach` is the number of words before the term
    that may negate it.

    >>> from retinal_lib.check.language.lexicon import ParsedText
    >>> text = ParsedText("There are no exudates, but drusen are seen; glaucoma cannot be judged.")
    >>> [polarity(text, term) for term in text.of("conditions")]
    ['negated', 'affirmed', 'uncertain']
    """
    return cues(text).polarity(term, text.sentence(term), reach)


@kept
def mentions(text: ParsedText) -> list[Mention]:
    """Finds the conditions that a text says something of, each with its polarity; not those of a history, such as 'no family
    history of glaucoma', which says nothing of this eye."""
    named = (term for term in text.of("conditions") if not _of_history(text, term))
    return [Mention(term.values, term, polarity(text, term), text.sentence(term)) for term in named]


def comments(text: ParsedText, term: Term) -> bool:
    """Says whether a word belongs to what is said of a topic: as far as retinopathy goes, it is unremarkable."""
    sentence = text.sentence(term)
    ranges = (cues(text)._comment(t, text.sentence(t)) for t in text.of("conditions") if t.last <= term.first)
    return any(comment is not None and term.first in comment and term.first in sentence for comment in ranges)


def is_suspected(text: ParsedText, term: Term) -> bool:
    """Says whether words before or after a condition leave it a suspicion: suspected glaucoma, glaucoma is likely. A suspicion
    holds for all members of a list."""
    words, sentence, named = text.words, text.sentence(term), text.of("conditions")
    first, last = term.first, term.last
    while first > sentence.start and words[first - 1] not in WORDS.clause_ends:
        first = next((t.first for t in named if t.last == first), first - 1)
    while last < sentence.stop and words[last] not in WORDS.clause_ends and not any(t.first == last for t in named):
        last += 1
    return not WORDS.suspecting.isdisjoint((*words[first : term.first], *words[term.last : last]))


def _of_history(text: ParsedText, term: Term) -> bool:
    start = text.sentence(term).start
    history = max((k for k in range(start, term.first) if text.words[k] == "history"), default=None)
    return history is not None and WORDS.of_history.issuperset(
        word for k, word in enumerate(text.words[history + 1 : term.first], history + 1) if not _named(text, k)
    )


def _named(text: ParsedText, k: int) -> bool:
    """Whether token k belongs to the name of a condition."""
    return any(t.first <= k < t.last for t in text.of("conditions"))
