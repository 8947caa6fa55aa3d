"""The cost of a run in tokens and USD: estimated, paid, per conversation, and lost."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from retinal_lib.display import FullTable, count
from retinal_lib.teacher import cost
from retinal_lib.teacher.cost import Estimate, Range

UNKNOWN = "unknown"


@dataclass
class Account:
    """The cost of a run. `estimate` is for the first request of every image, `to_ask` for requests not sent yet, `to_read` for
    those of the second reader; None where no server is asked. `bills` are the tokens by channel, by whether the reply became
    a conversation, and by whose it is: the teacher's or, at the price of `reader`, the second reader's."""

    server: str
    estimate: Estimate | None
    to_ask: Estimate | None = None
    to_read: Estimate | None = None
    accepted: int = 0
    replies: int = 0
    uncounted: int = 0  # replies whose server counted no tokens
    reader: cost.Price | None = None
    bills: dict[tuple[str, bool, bool], Counter] = field(default_factory=dict)

    def add(self, usage: list[dict], read: bool = False) -> None:
        """Counts the replies of one image; `read`: those of the second reader."""
        for bill in usage:
            self.replies += 1
            self.uncounted += "prompt" not in bill
            total = self.bills.setdefault((bill["channel"], bill["used"], read), Counter())
            total.update({name: bill.get(name, 0) for name in ("prompt", "cached", "completion")})

    def tokens(self, used: bool | None = None) -> dict[str, int]:
        """Returns prompt and completion tokens of all replies, or of those that became a conversation (used) or did not."""
        bills = [bill for (_, was, _), bill in self.bills.items() if used is None or was == used]
        return {name: sum(bill[name] for bill in bills) for name in ("prompt", "completion")}

    def usd(self, used: bool | None = None) -> float | None:
        """Returns the cost in USD of the same replies; None where it is unknown."""
        price = self.estimate.price if self.estimate else None
        prices = {False: price, True: self.reader}
        if self.uncounted or any(prices[read] is None for _, _, read in [("", False, False), *self.bills]):
            return None
        bills = [(key, bill) for key, bill in self.bills.items() if used is None or key[1] == used]
        return sum(prices[read].of(bill, channel) for (channel, _, read), bill in bills)

    @property
    def table(self) -> pd.DataFrame:
        """Tokens and USD, estimated and paid."""
        if self.estimate is None:
            return FullTable({"": ["nothing: the offline teacher composes on this machine"]}, index=["cost"])
        rows: dict[str, tuple[str, str, str]] = {}
        for channel in cost.CHANNELS:
            rows[f"estimated for all {count(self.estimate.requests, 'request')}, {channel}"] = _estimated(
                self.estimate, channel
            )
        if self.to_ask is not None:
            for channel in cost.CHANNELS:
                rows[f"estimated for the {self.to_ask.requests:,} still to ask, {channel}"] = _estimated(self.to_ask, channel)
        if self.to_read is not None:
            for channel in cost.CHANNELS:
                name = f"estimated for {count(self.to_read.requests, 'request')} of the second reader, {channel}"
                rows[name] = _estimated(self.to_read, channel)
        lost = sum(not used for _, used, _ in self.bills)
        rows[f"paid for {self.replies:,} replies"] = self._paid(None, 1)
        if self.accepted:
            rows["per accepted conversation"] = self._paid(None, self.accepted)
        rows["lost on replies without a conversation"] = self._paid(False, 1) if lost else ("0", "0", _dollars(0))
        return FullTable(list(rows.values()), columns=["prompt tokens", "answer tokens", "USD"], index=list(rows))

    @property
    def note(self) -> str:
        """A sentence on where the prices come from, or why there are none."""
        if self.estimate is None:
            return "No server was asked."
        if self.estimate.price is None:
            return (
                f"The cost is unknown: params/{cost.prices_file().name} has no price for this model at {self.server}. "
                "Add a line for it there."
            )
        text = f"Prices as of {cost.prices_date()}, from params/{cost.prices_file().name}; tokens before a run are an estimate."
        if self.estimate.pictures:
            text += " It is not known how many tokens this model counts for a picture, so that the estimate is unknown."
        return text

    def manifest(self) -> dict | None:
        """Returns the cost for manifest.json; None where no server is asked."""
        if self.estimate is None:
            return None
        estimate = self.estimate
        usd = {f"{channel}_usd": _ends(estimate.usd(channel), 6) for channel in cost.CHANNELS}
        return {
            "prices_as_of": cost.prices_date() if estimate.price else None,
            "estimated": {
                "requests": estimate.requests,
                "prompt": UNKNOWN if estimate.pictures else _ends(estimate.prompt, 0),
                "completion": _ends(estimate.completion, 0),
                **usd,
            },
            "actual": {"replies": self.replies, "uncounted": self.uncounted, **self.tokens(), "usd": _rounded(self.usd())},
            "per_accepted_usd": _rounded(None if self.usd() is None or not self.accepted else self.usd() / self.accepted),
            "lost": {**self.tokens(False), "usd": _rounded(self.usd(False))},
        }

    def _paid(self, used: bool | None, shares: int) -> tuple[str, str, str]:
        tokens, usd = self.tokens(used), self.usd(used)
        if self.uncounted == self.replies and self.replies:
            return UNKNOWN, UNKNOWN, UNKNOWN
        return (
            f"{tokens['prompt'] / shares:,.0f}",
            f"{tokens['completion'] / shares:,.0f}",
            UNKNOWN if usd is None else _dollars(usd / shares),
        )


def _estimated(estimate: Estimate, channel: str) -> tuple[str, str, str]:
    usd = estimate.usd(channel)
    prompt = UNKNOWN if estimate.pictures else _range(estimate.prompt, "{:,.0f}".format)
    return prompt, _range(estimate.completion, "{:,.0f}".format), UNKNOWN if usd is None else _range(usd, _dollars)


def _range(limits: Range, text: Callable[[float], str]) -> str:
    low, high = text(limits.low), text(limits.high)
    return low if low == high else f"{low} to {high}"


def _dollars(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 1 else f"{usd:.4f}" if usd >= 0.001 or not usd else f"{usd:.6f}"


def _ends(limits: Range | None, digits: int) -> list[float] | str:
    return UNKNOWN if limits is None else [round(end, digits) if digits else round(end) for end in limits]


def _rounded(usd: float | None) -> float | str:
    return UNKNOWN if usd is None else round(usd, 6)
