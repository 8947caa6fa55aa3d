"""Whether the words around slots name what the slots are of: vessel, zone, formula, direction, measure, lesion, landmark."""

from collections.abc import Iterator

from retinal_lib.check.language import naming
from retinal_lib.check.language.naming import DIMENSIONS, Reading, Spot, Word
from retinal_lib.slots.sentence import Placed, Sentence, SlottedText

CONTRASTS = frozenset(["against", "versus", "vs", "than", "compared", "to"])


def mismatches(sentence: Sentence, question: SlottedText) -> Iterator[tuple[Placed, str, Word]]:
    """Yields slots of a sentence whose words name something else, each with the dimension and such a word."""
    for dimension in DIMENSIONS:
        concerned = [slot for slot in sentence.slots if dimension in slot.allowed]
        if not concerned:
            continue
        spots = [Spot(s.first, s.last, (s.allowed,), s.anchor.slot.fact.name.endswith("_box")) for s in concerned]
        texts = [*reversed(sentence.earlier), *question.sentences]
        named = naming.words(sentence.text, sentence.tokens, sentence.of.values, dimension, spots)
        context = next((w for s in texts if (w := naming.words(s.text, s.tokens, s.of.values, dimension, spots))), [])
        reading = Reading(dimension, named, spots, sentence.words, [word.values for word in context], frozenset())
        if reading.names() is None:
            slot = concerned[reading.reached]
            wrong = [word for word in named or context if word.values.isdisjoint(slot.allowed[dimension])] or named or context
            yield slot, dimension, min(wrong, key=lambda word: abs(word.first - slot.first))
