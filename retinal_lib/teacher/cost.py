"""What requests cost: token estimates, prices from params/prices.yaml, and a budget that is never exceeded."""

import asyncio
import datetime
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retinal_lib import paths
from retinal_lib.errors import UserError, from_validation

# words, numbers in groups of three digits as tokenizers cut them, and marks
_PIECE = re.compile(r"[^\W\d_]+|\d{1,3}|[^\w\s]|_")
_FRAME = 16  # tokens at most that a chat's form adds: roles, separators, the start of the answer
# tokens that a conversation takes, (fewest, most), for a track or style: from its shortest allowed form to a talkative one
ANSWERS = {"instruction": (150, 900), "caption": (40, 400), "consult": (25, 120)}
_PLAIN = 1024  # tokens of a picture where no rule is known, for the size of batches only, never for a price


class Span(NamedTuple):
    """From the fewest to the most."""

    low: float
    high: float

    def times(self, factor: float) -> "Span":
        """Returns both ends times a factor."""
        return Span(self.low * factor, self.high * factor)


@lru_cache(maxsize=256)
def count(text: str) -> Span:
    """Counts the tokens of a text, as a range.

    At the low end each word, mark and group of three digits is one token; at the high end long words are cut every four
    letters and digits stand alone, as the tokenizers of smaller models do. Over the prompts and descriptions of this project
    the low end is 0.84 to 0.96 of what OpenAI's tokenizers (cl100k, o200k) count, the high end 1.21 to 1.32.
    """
    pieces = _PIECE.findall(text)
    most = sum(math.ceil(len(piece) / 4) if piece.isalpha() else len(piece) for piece in pieces)
    return Span(len(pieces), most)


def bound(*texts: str) -> int:
    """Returns the most tokens that a tokenizer working on bytes can make of messages."""
    return sum(len(text.encode()) + _FRAME for text in texts)


def picture(size: tuple[int, int], rule: dict | None) -> int | None:
    """Counts the tokens of a picture of this size (width, height in pixels, as sent) by a model's rule; None without one.

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


def picture_for_queue(size: tuple[int, int], rule: dict | None) -> int:
    """Counts as `picture`; without a rule, as many as 1024 by 1024 pixels have patches of 32: enough to size batches by."""
    known = picture(size, rule)
    return _PLAIN if known is None else known


MILLION = 1_000_000
CHANNELS = ("direct", "batch")
UNCOUNTED = "a reply tells no tokens (it has no usage), so that budget_usd cannot be kept; run again without it"


class Price(BaseModel):
    """A model's prices in USD per million tokens. `batch` is a batch's price as a share of the direct one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)
    batch: float = Field(1.0, ge=0, le=1)
    most_output: int | None = Field(None, ge=1)  # tokens that the model writes at most, thoughts among them
    thinks: bool = False  # it is paid for thoughts that nobody sees
    image: dict[str, Any] | None = None

    def of(self, usage: dict[str, int], channel: str) -> float:
        """Returns USD for counted tokens: prompt, cached (a part of prompt), completion."""
        prompt, cached = usage.get("prompt", 0), usage.get("cached", 0)
        plain = self.input if self.cached is None else self.cached
        usd = (prompt - cached) * self.input + cached * plain + usage.get("completion", 0) * self.output
        return usd * (self.batch if channel == "batch" else 1.0) / MILLION


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    as_of: datetime.date
    servers: dict[str, dict[str, Price]]


def prices_file() -> Path:
    """Returns the path of the price list."""
    return paths.root() / "params" / "prices.yaml"


def find(server: str, model: str | None) -> Price | None:
    """Returns the price of a model at a server; None where the file has none. A date after the name (-2024-07-18) is left
    out, and `*` stands for every model of a server. UserError: the file cannot be read."""
    models, name = _read().servers.get(server.rstrip("/"), {}), model or ""
    return models.get(name) or models.get(re.sub(r"(?<=.)-[\d-]{10}\Z", "", name)) or models.get("*")


def dated() -> str:
    """Returns the date of the prices as text; empty where there is no file."""
    return _read().as_of.isoformat() if prices_file().is_file() else ""


def _read() -> _File:
    file = prices_file()
    if not file.is_file():
        return _File(as_of=datetime.date.min, servers={})
    try:
        return _File(**yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"{paths.display_path(file)}: not readable as prices ({' '.join(str(error).split())})") from error
    except ValidationError as error:
        raise from_validation(error, paths.display_path(file)) from error


# --- before a run ---------------------------------------------------------------------------------------------------------


@dataclass
class Estimate:
    """The tokens and cost of requests, as a range. `pictures` counts those that no rule gives tokens for: then the cost is
    unknown."""

    price: Price | None
    kind: str  # of answer: a key of tokens.ANSWERS
    most: int | None = None  # tokens of an answer that the request allows
    requests: int = 0
    low: float = 0.0  # tokens of the prompts
    high: float = 0.0
    pictures: int = 0

    def add(self, system: str, text: str, size: tuple[int, int] | None) -> Span:
        """Adds one request, and returns the tokens of its prompt."""
        self.requests += 1
        fixed, own = count(system), count(text)
        image = 0
        if size is not None:
            known = picture(size, self.price.image if self.price else None)
            self.pictures += known is None
            image = known or 0
        prompt = Span(fixed.low + own.low + image, fixed.high + own.high + image)
        self.low += prompt.low
        self.high += prompt.high
        return prompt

    @property
    def prompt(self) -> Span:
        """Tokens of all prompts."""
        return Span(self.low, self.high)

    @property
    def completion(self) -> Span:
        """Tokens of all answers."""
        return self.answer.times(self.requests)

    @property
    def answer(self) -> Span:
        """Tokens of one answer. A model that thinks may fill all that it is allowed."""
        low, high = ANSWERS[self.kind]
        if self.price and self.price.thinks:
            high = max(high, self.most or self.price.most_output or high)
        return Span(min(low, self.most or low), min(high, self.most or high))

    def usd(self, channel: str) -> Span | None:
        """Returns the cost; None where a price or a picture's tokens are unknown."""
        if self.price is None or self.pictures:
            return None
        ends = zip(self.prompt, self.completion, strict=True)
        return Span(*(self.price.of({"prompt": p, "completion": c}, channel) for p, c in ends))


# --- during a run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """The most tokens that a request and its answer can have."""

    prompt: int
    completion: int


class Budget:
    """A budget in USD for one model's replies in one vault. What was paid, and the most that pending batches and requests in
    flight can cost, together never pass `limit`; without a limit everything fits. `exhausted` says why nothing more is
    asked, empty as long as something may be."""

    def __init__(self, limit: float | None, price: Price | None, spent: float = 0.0, pending: float = 0.0):
        self.limit, self.price, self.spent, self.pending = limit, price, spent, pending
        self.reserved, self.exhausted = 0.0, ""
        self._freed = asyncio.Event()

    def upper_bound(self, bound: Bound, channel: str) -> float:
        """Returns the USD that a request can cost at most."""
        if self.price is None or self.limit is None:
            return 0.0
        return self.price.of({"prompt": bound.prompt, "completion": bound.completion}, channel)

    def reserve(self, usd: float) -> bool:
        """Reserves the cost of a request; False where it could pass the budget."""
        if self.limit is not None and (self.exhausted or self.spent + self.pending + self.reserved + usd > self.limit):
            return False
        self.reserved += usd
        return True

    async def reserve_later(self, usd: float) -> bool:
        """Reserves the cost of a request, after requests in flight have released theirs if need be; False where it could
        pass the budget even then."""
        while not self.reserve(usd):
            if self.exhausted or self.reserved <= 1e-12:
                self.close()
                return False
            self._freed.clear()
            await self._freed.wait()
        return True

    def release(self, usd: float, paid: float) -> None:
        """Releases what was reserved for a request and counts what it cost."""
        self.reserved, self.spent = max(0.0, self.reserved - usd), self.spent + paid
        self._freed.set()

    def close(self) -> None:
        """Lets nothing more be asked."""
        self.exhausted = self.exhausted or (
            f"not asked: the next request could pass the budget of {self.limit:g} USD "
            f"({self.spent:.4f} paid{f', up to {self.pending:.4f} pending in batches' if self.pending > 1e-9 else ''}); "
            "raise budget_usd and run again"
        )
        self._freed.set()


def allowed(options: dict[str, Any]) -> int | None:
    """Returns the tokens of an answer that a request's options allow, None where they set no limit."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = options.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:  # some servers take -1 for "no limit"
            return limit
    return None
