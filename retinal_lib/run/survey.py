"""Measures of whole runs: repeated questions and answers, variety, balance, sentences without a fact, answers that could be
guessed without the picture, and pictures that are nearly equal."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from retinal_lib import display, paths
from retinal_lib.check.language import lexicon
from retinal_lib.conversation import Conversation, Turn
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import read_jsonl
from retinal_lib.imaging import images
from retinal_lib.run import run_files
from retinal_lib.run.dataset_job import dataset_of_run, picture_files

_SENTENCE = re.compile(r"[^.!?\n]+(?:\.\d[^.!?\n]*)*[.!?]?")
_WORD = re.compile(r"[a-zµ]+|\d+(?:\.\d+)?|%")
_SMALL = frozenset("the a an is are of in to and it this that with for on at by as be was were has have".split())
# topic of a question -> which facts answer it: the key of a trace, and what it holds
_TOPICS = {
    "disease": ("aspect", "disease"),
    "quality": ("aspect", "quality"),
    "eye": ("fact", "eye"),
    "lesion": ("aspect", "lesion"),
    "picture": ("fact", "modality"),
}
_BITS = np.array([value.bit_count() for value in range(256)], dtype=np.uint16)
NEAR = 16  # bits of 256 in which the hashes of nearly equal pictures may differ


class Survey:
    """Counts of conversations added one by one; `report` returns the measures."""

    def __init__(self) -> None:
        self.conversations = self.sentences = self.unsupported = 0
        self._lengths: Counter[int] = Counter()  # in turns
        self._openings: Counter[tuple[str, ...]] = Counter()
        self._texts: dict[str, Counter[int]] = {"questions": Counter(), "answers": Counter()}
        self._ngrams: dict[str, Counter[int]] = {
            f"{name} {size}": Counter() for name in ("answers", "questions") for size in (1, 2)
        }
        self._labels: Counter[str] = Counter()
        self._answers_to: dict[str, Counter[str]] = defaultdict(Counter)  # topic of a question -> labels in its answer

    def add(self, turns: Iterable[Turn], traces: list[dict]) -> None:
        """Counts a conversation, given its traces from lineage.jsonl."""
        questions, answers = zip(*turns, strict=True)
        self.conversations += 1
        self._lengths[len(answers)] += 1
        self._openings[_words(questions[0])] += 1
        for name, texts in (("questions", questions), ("answers", answers)):
            for words in map(_words, texts):
                self._texts[name][hash(frozenset("#" if word[0].isdigit() else word for word in words) - _SMALL)] += 1
                self._ngrams[f"{name} 1"].update(map(hash, words))
                self._ngrams[f"{name} 2"].update(map(hash, pairwise(words)))
        labels = {t["label"] for t in traces if t["is"] == "claim" and t.get("aspect") in ("disease", "lesion")}
        self._labels.update(sorted(labels))
        for turn, (question, answer) in enumerate(zip(questions, answers, strict=True), start=1):
            here = [trace for trace in traces if trace["turn"] == turn]
            self._count_unsupported_sentences(answer, here)
            self._count_answers_by_topic(question, here)

    def _count_unsupported_sentences(self, answer: str, traces: list[dict]) -> None:
        """Counts sentences without a number or claim that a fact supports, with greetings and openings."""
        for sentence in _SENTENCE.finditer(answer):
            if len(sentence[0].split()) >= 3:
                self.sentences += 1
                self.unsupported += not any(t["span"][0] < sentence.end() and sentence.start() < t["span"][1] for t in traces)

    def _count_answers_by_topic(self, question: str, traces: list[dict]) -> None:
        """Counts the answers to a question on one topic, for the share that could be guessed without the picture."""
        topics = {value for term in lexicon.read(question).of("asks") for value in term.values} & _TOPICS.keys()
        if len(topics) != 1:
            return
        (topic,) = topics
        key, wanted = _TOPICS[topic]
        if labels := sorted({t["label"] for t in traces if t["is"] == "claim" and t.get(key) == wanted and "label" in t}):
            self._answers_to[topic]["; ".join(labels)] += 1

    def report(self) -> dict:
        """Returns the measures as a JSON-ready dict; shares are from 0 to 1."""
        return {
            "conversations": self.conversations,
            "turns": dict(sorted(self._lengths.items())),
            "repeated": {name: _repeated(texts) for name, texts in self._texts.items()},
            "distinct_n": {name: round(len(grams) / (grams.total() or 1), 4) for name, grams in self._ngrams.items()},
            "openings": {"different": len(self._openings), "most common": _share(self._openings)},
            "claims": dict(self._labels.most_common(40)),
            "sentences_without_fact": round(self.unsupported / (self.sentences or 1), 4),
            "blind_guess": {
                topic: {"questions": c.total(), "most common answer": c.most_common(1)[0][0], "share": _share(c)}
                for topic, c in sorted(self._answers_to.items())
            },
        }


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower()))


def _share(counts: Counter) -> float:
    """The share of the most common entry."""
    return round(counts.most_common(1)[0][1] / counts.total(), 4) if counts else 0.0


def _repeated(counts: Counter) -> float:
    """The share of texts that repeat an earlier one, apart from numbers, word order and small words."""
    return round((counts.total() - len(counts)) / counts.total(), 4) if counts else 0.0


# --- pictures ---------------------------------------------------------------------------------------------------------


def near_pictures(names: list[str], hashes: np.ndarray, limit: int = NEAR) -> list[tuple[str, str, int]]:
    """Returns pairs of names whose hashes (uint8 [n, 32]) differ in at most `limit` of 256 bits, with the number of different
    bits; smallest first."""
    pairs = []
    for i in range(len(names) - 1):
        distance = _BITS[hashes[i + 1 :] ^ hashes[i]].sum(axis=1)
        pairs += [(names[i], names[i + 1 + k], int(distance[k])) for k in np.flatnonzero(distance <= limit)]
    return sorted(pairs, key=lambda pair: (pair[2], pair[0], pair[1]))


# --- finished runs ----------------------------------------------------------------------------------------------------


def of_runs(folders: Iterable[Path], pictures: Path | None = None) -> str:
    """Returns the measures of finished runs together as JSON. With `pictures`, the folder to which image names are relative,
    lists nearly equal pictures too. UserError: a folder has no finished run, or a picture cannot be read."""
    survey, files = Survey(), {}
    for folder in folders:
        names = {}
        for conversation, traces in _accepted(folder):
            survey.add(conversation.turns, traces)
            names[conversation.image] = None
        if pictures is not None:
            files |= _files(folder, names, pictures)
    text = json.dumps(survey.report(), ensure_ascii=False, indent=2)
    return text if pictures is None else "\n".join([text, *_compared(files)])


def _accepted(folder: Path) -> Iterator[tuple[Conversation, list[dict]]]:
    """The conversations of a run with their traces. UserError: the folder holds no finished run."""
    try:
        lines = zip(read_jsonl(folder / "conversations.jsonl"), read_jsonl(folder / "lineage.jsonl"), strict=True)
        for (_, entry), (_, line) in lines:
            yield Conversation.from_llava(entry), run_files.lineage(line)["traces"]
    except (UserError, ValueError) as error:
        raise UserError(f"{paths.display_path(folder)} holds no finished run ({error}); pass the folder of one") from error


def _files(folder: Path, names: Iterable[str], root: Path) -> dict[str, Path]:
    """The file of each image of a run: under its name in `root`, or as its dataset lies there."""
    files = {name: root / name for name in names}
    if any(file.is_file() for file in files.values()) or not (folder / run_files.MANIFEST).is_file():
        return files
    found = picture_files(*dataset_of_run(folder, root))
    return {name: found.get(name, file) for name, file in files.items()}


def _compared(files: dict[str, Path]) -> Iterator[str]:
    names = list(files)
    hashes = [images.perceptual_hash(file) for file in display.progress(list(files.values()), "pictures")]
    pairs = near_pictures(names, np.array(hashes))
    yield f"{count(len(pairs), 'pair')} of pictures nearly the same, of {len(names):,}:"
    yield from (f"  {one}  {other}  ({distance} of 256 bits differ)" for one, other, distance in pairs)
