"""A whole run looked over: repeated questions and answers, variety, balance, what no fact holds, what a blind reader could
guess, and pictures that are nearly the same."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from retinal_lib import display, paths
from retinal_lib import images as picture
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.conversation import IMAGE
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import read_jsonl

_SENTENCE = re.compile(r"[^.!?\n]+(?:\.\d[^.!?\n]*)*[.!?]?")
_ASKED = {
    "disease": "disease",
    "quality": "quality",
    "eye": "eye",
    "lesion": "lesion",
    "picture": "image",
}
_BITS = np.array([value.bit_count() for value in range(256)], dtype=np.uint16)
NEAR = 16  # bits of 256 in which two pictures' hashes may differ and be called nearly the same


class Survey:
    """Counts conversations one by one; `report` tells what they come to."""

    def __init__(self) -> None:
        self.conversations = self.turns = self.sentences = self.ungrounded = 0
        self._by_turns: Counter[int] = Counter()
        self._questions: Counter[bytes] = Counter()
        self._answers: Counter[bytes] = Counter()
        self._openings: Counter[str] = Counter()
        self._grams: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._gram_totals: Counter[tuple[str, int]] = Counter()
        self._labels: Counter[str] = Counter()
        self._guesses: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, conversation: list[dict[str, str]], traces: list[dict]) -> None:
        """Counts a conversation as exported, with its traces as lineage.jsonl has them."""
        questions = [part["value"].replace(IMAGE, "").strip() for part in conversation[::2]]
        answers = [part["value"] for part in conversation[1::2]]
        self.conversations += 1
        self.turns += len(answers)
        self._by_turns[len(answers)] += 1
        self._openings[" ".join(_words(questions[0]))] += 1
        for name, texts, counter in (("questions", questions, self._questions), ("answers", answers, self._answers)):
            for text in texts:
                words = _words(text)
                counter[_alike(words)] += 1
                for size in (1, 2):
                    grams = [hash(tuple(words[i : i + size])) for i in range(len(words) - size + 1)]
                    self._grams[name, size].update(grams)
                    self._gram_totals[name, size] += len(grams)
        by_turn: dict[int, list[dict]] = defaultdict(list)
        for trace in traces:
            by_turn[trace["turn"]].append(trace)
        self._ground(answers, by_turn)
        self._guess(questions, by_turn)

    def _ground(self, answers: list[str], by_turn: dict[int, list[dict]]) -> None:
        """Sentences without a number or claim that a fact holds, greetings and openings among them."""
        for turn, answer in enumerate(answers, start=1):
            for found in _SENTENCE.finditer(answer):
                if len(found[0].split()) < 3:
                    continue
                self.sentences += 1
                self.ungrounded += not any(found.start() <= t["span"][0] < found.end() for t in by_turn[turn])

    def _guess(self, questions: list[str], by_turn: dict[int, list[dict]]) -> None:
        """What each kind of question is answered with, for the share that a reader who sees no picture gets right."""
        seen = set()
        for turn, question in enumerate(questions, start=1):
            for trace in by_turn[turn]:
                if trace["is"] == "claim" and trace.get("aspect") in ("disease", "lesion"):
                    seen.add(trace["label"])
            asked = {v for t in vocabulary.read(question).of("asks") for v in t.values} & set(_ASKED)
            told = sorted({t["label"] for t in by_turn[turn] if t["is"] == "claim" and "label" in t})
            if len(asked) == 1 and told:
                self._guesses[asked.pop()]["; ".join(told)] += 1
        self._labels.update(sorted(seen))

    def report(self) -> dict:
        """All figures as plain data; shares lie between 0 and 1."""
        repeated = {name: _repeated(c) for name, c in (("questions", self._questions), ("answers", self._answers))}
        distinct = {
            f"{name} {size}": round(len(found) / (self._gram_totals[name, size] or 1), 4)
            for (name, size), found in sorted(self._grams.items())
        }
        guesses = {
            kind: {"questions": sum(c.values()), "most common answer": c.most_common(1)[0][0], "share": _share(c)}
            for kind, c in sorted(self._guesses.items())
        }
        return {
            "conversations": self.conversations,
            "turns": dict(sorted(self._by_turns.items())),
            "repeated": repeated,
            "distinct_n": distinct,
            "openings": {"different": len(self._openings), "most common": _share(self._openings)},
            "claims": dict(self._labels.most_common(40)),
            "sentences_without_fact": round(self.ungrounded / (self.sentences or 1), 4),
            "blind_guess": guesses,
        }


def _share(counts: Counter) -> float:
    total = sum(counts.values())
    return round(counts.most_common(1)[0][1] / total, 4) if total else 0.0


def _repeated(counts: Counter) -> float:
    """The share of texts that are, numbers, word order and small words aside, one that stood before."""
    total = sum(counts.values())
    return round((total - len(counts)) / total, 4) if total else 0.0


@lru_cache(maxsize=65536)
def _split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-zµ]+|\d+(?:\.\d+)?|%", text.lower()))


def _words(text: str) -> list[str]:
    return list(_split(text))


_SMALL = frozenset("the a an is are of in to and it this that with for on at by as be was were has have".split())


def _alike(words: Iterable[str]) -> bytes:
    kept = sorted({"#" if word[0].isdigit() else word for word in words} - _SMALL)
    return hashlib.blake2b(" ".join(kept).encode(), digest_size=8).digest()


# --- pictures ---------------------------------------------------------------------------------------------------------


def near_pictures(names: list[str], hashes: np.ndarray, limit: int = NEAR) -> list[tuple[str, str, int]]:
    """Pairs of names whose hashes (uint8 [n, 32]) differ in at most `limit` of 256 bits, with that number; nearest first."""
    found = []
    for i in range(len(names) - 1):
        apart = _BITS[hashes[i + 1 :] ^ hashes[i]].sum(axis=1)
        found += [(names[i], names[i + 1 + k], int(apart[k])) for k in np.flatnonzero(apart <= limit)]
    return sorted(found, key=lambda pair: (pair[2], pair[0], pair[1]))


# --- finished runs ----------------------------------------------------------------------------------------------------


def read(folder: Path) -> Iterator[tuple[dict, dict]]:
    """(conversation entry, lineage entry) of a run's accepted images. UserError: the folder holds no finished run."""
    try:
        lines = zip(read_jsonl(folder / "conversations.jsonl"), read_jsonl(folder / "lineage.jsonl"), strict=True)
        for (_, entry), (_, origin) in lines:
            yield entry, origin
    except (UserError, ValueError) as error:
        raise UserError(f"{paths.display_path(folder)} holds no finished run ({error}); give the folder of one") from error


def of_runs(folders: Iterable[Path], images: Path | None = None) -> str:
    """Surveys finished runs together and returns the report as JSON. With `images`, the folder that image names begin in, the
    pictures nearly the same are listed too. UserError: a folder is no run's, or a picture cannot be read."""
    survey, names = Survey(), []
    for folder in folders:
        for entry, origin in read(folder):
            survey.add(entry["conversations"], origin.get("traces", []))
            names.append(entry["image"])
    text = json.dumps(survey.report(), ensure_ascii=False, indent=2)
    return text if images is None else "\n".join([text, *_compared(images, names)])


def _compared(root: Path, names: list[str]) -> Iterator[str]:
    names, hashes = list(dict.fromkeys(names)), []
    with display.Bar(len(names), "pictures") as bar:
        for done, name in enumerate(names, start=1):
            hashes.append(picture.perceptual_hash(root / name))
            bar.show(done, "")
    found = near_pictures(names, np.array(hashes))
    yield f"{count(len(found), 'pair')} of pictures nearly the same, of {len(names):,}:"
    yield from (f"  {one}  {other}  ({apart} of 256 bits differ)" for one, other, apart in found)
