"""The cost of requests: token estimates, prices from params/prices.yaml, and a budget that is never exceeded."""

import asyncio
import datetime
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from retinal_lib import paths, typed_paths
from retinal_lib.errors import from_validation
from retinal_lib.files import read_yaml

# words, groups of three digits as tokenizers cut numbers, and punctuation
_PIECE = re.compile(r"[^\W\d_]+|\d{1,3}|[^\w\s]|_")
_MESSAGE_TOKENS = 16  # the most tokens that the chat format adds to a message: roles, separators, the start of the answer
# tokens of a conversation, (fewest, most), for a track or style: from the shortest allowed to a long one; of verdicts
ANSWERS = {"instruction": (150, 900), "caption": (40, 400), "consult": (25, 120), "verdicts": (8, 400)}
DEFAULT_PICTURE_TOKENS = 1024  # of a picture where the model has no rule: for the size of batches only, never for a price


class Range(NamedTuple):
    """A range of numbers."""

    low: float
    high: float

    def plus(self, other: "Range") -> "Range":
        """Returns the range of a sum."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """Returns both ends times a factor."""
        return Range(self.low * factor, self.high * factor)


@lru_cache(maxsize=256)
def count_tokens(text: str) -> Range:
    """Estimates the number of tokens of a text as a range.

    For the low end each word, punctuation mark and group of three digits is one token; for the high end words are cut every
    four letters and each digit is a token, as in the tokenizers of smaller models. For the prompts and descriptions of this
    project the low end is 0.84 to 0.96 of the count of OpenAI's tokenizers (cl100k, o200k), the high end 1.21 to 1.32.
    """
    pieces = _PIECE.findall(text)
    most = sum(math.ceil(len(piece) / 4) if piece.isalpha() else len(piece) for piece in pieces)
    return Range(len(pieces), most)


def most_prompt_tokens(*texts: str) -> int:
    """Returns the highest number of tokens that a tokenizer can make of messages: one for each byte."""
    return sum(len(text.encode()) + _MESSAGE_TOKENS for text in texts)


def picture_tokens(size: tuple[int, int], rule: dict | None) -> int | None:
    """Returns the tokens of a picture of this size (width, height in pixels, as sent) by a model's rule; None without one.

    Rules: {tiles: [base, each]}, tiles of 512 pixels after scaling to 2048 and the short side to 768;
    {patches: most, times: factor}, patches of 32 pixels.
    """
    if not rule:
        return None
    width, height = size
    if "tiles" in rule:
        scale = min(1, 2048 / max(width, height))
        scale *= min(1, 768 / (min(width, height) * scale))
        tiles = math.ceil(round(width * scale, 6) / 512) * math.ceil(round(height * scale, 6) / 512)
        return rule["tiles"][0] + rule["tiles"][1] * tiles
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches > rule["patches"]:  # scaled down until it fits, then to whole patches
        shrink = math.sqrt(32 * 32 * rule["patches"] / (width * height))
        across, down = width * shrink / 32, height * shrink / 32
        shrink *= min(math.floor(across) / across, math.floor(down) / down)
        patches = math.ceil(round(width * shrink / 32, 6)) * math.ceil(round(height * shrink / 32, 6))
    return math.ceil(min(patches, rule["patches"]) * rule.get("times", 1))


MILLION = 1_000_000
CHANNELS = ("direct", "batch")
UNCOUNTED = "a reply has no token counts (usage), so that budget_usd cannot be kept; run again without it"


_Count = Annotated[int, Field(ge=0, le=100_000)]


class _Tiles(BaseModel, extra="forbid"):
    tiles: tuple[_Count, _Count]


class _Patches(BaseModel, extra="forbid"):
    patches: int = Field(ge=1, le=1_000_000)
    times: float = Field(1.0, gt=0, le=1000)


class Price(BaseModel):
    """The prices of a model in USD per million tokens. `batch` is the price in a batch as a share of the direct one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)
    batch: float = Field(1.0, ge=0, le=1)
    most_output: int | None = Field(None, ge=1)  # the most tokens that the model writes, with its hidden reasoning
    thinks: bool = False  # hidden reasoning is paid for
    image: dict[str, Any] | None = None

    @field_validator("image")
    @classmethod
    def _known_rule(cls, rule: dict | None) -> dict | None:
        if rule is not None:
            TypeAdapter(_Tiles | _Patches).validate_python(rule)
        return rule

    def of(self, usage: dict[str, int], channel: str) -> float:
        """Returns the cost in USD of tokens by kind: prompt, cached (a part of prompt), completion."""
        prompt, cached = usage.get("prompt", 0), usage.get("cached", 0)
        cached_price = self.input if self.cached is None else self.cached
        usd = (prompt - cached) * self.input + cached * cached_price + usage.get("completion", 0) * self.output
        return usd * (self.batch if channel == "batch" else 1.0) / MILLION


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    as_of: datetime.date
    servers: dict[str, dict[str, Price]]


def prices_file() -> Path:
    """Returns the path of the price list."""
    return typed_paths.root() / "params" / "prices.yaml"


def find_price(server: str, model: str | None) -> Price | None:
    """Returns the price of a model at a server; None where prices.yaml has none. A date after the name (-2024-07-18) is
    ignored; `*` in the file stands for every model of a server. UserError: the file cannot be read."""
    models, name = _read().servers.get(server.rstrip("/"), {}), model or ""
    return models.get(name) or models.get(re.sub(r"(?<=.)-[\d-]{10}\Z", "", name)) or models.get("*")


def prices_date() -> str:
    """Returns the date of the prices as text; empty where there is no file."""
    return _read().as_of.isoformat() if prices_file().is_file() else ""


def _read() -> _File:
    file = prices_file()
    if not file.exists():
        return _File(as_of=datetime.date.min, servers={})
    try:
        return _File.model_validate(read_yaml(file, "prices"))
    except ValidationError as error:
        raise from_validation(error, paths.display_path(file)) from error


# --- before a run ---------------------------------------------------------------------------------------------------------


@dataclass
class Estimate:
    """The tokens and cost of requests, as ranges. `prompt` are the tokens of all prompts; `pictures` counts pictures whose
    tokens are unknown, so that the cost is unknown too."""

    price: Price | None
    kind: str  # of answer: a key of ANSWERS
    max_answer: int | None = None  # tokens of an answer that the request allows
    requests: int = 0
    prompt: Range = field(default=Range(0, 0))
    pictures: int = 0

    def add(self, system: str, text: str, size: tuple[int, int] | None) -> Range:
        """Adds one request, and returns the tokens of its prompt."""
        self.requests += 1
        prompt = count_tokens(system).plus(count_tokens(text))
        if size is not None:
            picture = picture_tokens(size, self.price.image if self.price else None)
            self.pictures += picture is None
            prompt = prompt.plus(Range(picture or 0, picture or 0))
        self.prompt = self.prompt.plus(prompt)
        return prompt

    @property
    def completion(self) -> Range:
        """Tokens of all answers."""
        return self.answer.times(self.requests)

    @property
    def answer(self) -> Range:
        """Tokens of one answer. A model with hidden reasoning may use all that it is allowed."""
        low, high = ANSWERS[self.kind]
        if self.price and self.price.thinks:
            high = max(high, self.max_answer or self.price.most_output or high)
        return Range(min(low, self.max_answer or low), min(high, self.max_answer or high))

    def usd(self, channel: str) -> Range | None:
        """Returns the cost in USD; None where the price or a picture's tokens are unknown."""
        if self.price is None or self.pictures:
            return None
        ends = zip(self.prompt, self.completion, strict=True)
        return Range(*(self.price.of({"prompt": p, "completion": c}, channel) for p, c in ends))


# --- during a run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenLimit:
    """The highest number of tokens that a request and its answer can have."""

    prompt: int
    completion: int


class Budget:
    """A budget in USD for one model's replies in one vault. What was paid, and the highest cost of pending batches and of
    requests without a reply, never exceed `limit` together; None is no limit. `exhausted` says why no more requests are sent;
    it is empty as long as they are."""

    def __init__(self, limit: float | None, price: Price | None, spent: float = 0.0, pending: float = 0.0):
        self.limit, self.price, self.spent, self.pending = limit, price, spent, pending
        self.reserved, self.exhausted = 0.0, ""
        self._freed = asyncio.Event()

    def upper_bound(self, bound: TokenLimit, channel: str) -> float:
        """Returns the highest cost of a request in USD."""
        if self.price is None or self.limit is None:
            return 0.0
        return self.price.of({"prompt": bound.prompt, "completion": bound.completion}, channel)

    def reserve(self, usd: float) -> bool:
        """Reserves the cost of a request; returns False where it could exceed the budget."""
        if self.limit is not None and (self.exhausted or self.spent + self.pending + self.reserved + usd > self.limit):
            return False
        self.reserved += usd
        return True

    async def reserve_later(self, usd: float) -> bool:
        """Reserves the cost of a request, if necessary once other requests have released theirs; returns False where it could
        exceed the budget even then."""
        while not self.reserve(usd):
            if self.exhausted or self.reserved <= 1e-12:
                self.close()
                return False
            self._freed.clear()
            await self._freed.wait()
        return True

    def release(self, usd: float, paid: float) -> None:
        """Releases the reserved cost of a request and adds what was paid."""
        self.reserved, self.spent = max(0.0, self.reserved - usd), self.spent + paid
        self._freed.set()

    def close(self) -> None:
        """Ends the budget: no more requests are sent."""
        self.exhausted = self.exhausted or (
            f"not asked: the next request could exceed the budget of {self.limit:g} USD "
            f"({self.spent:.4f} paid{f', up to {self.pending:.4f} pending in batches' if self.pending > 1e-9 else ''}); "
            "raise budget_usd and run again"
        )
        self._freed.set()


def answer_limit(options: dict[str, Any]) -> int | None:
    """Returns the highest number of tokens in an answer by a request's options; None where they set no limit."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = options.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:  # some servers take -1 for "no limit"
            return limit
    return None
