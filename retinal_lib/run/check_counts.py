"""What the checks of a run came to: findings by kind, before and after replies were sent back to be put right."""

from collections import Counter
from dataclasses import dataclass, field

import pandas as pd

from retinal_lib.ask.vault import Sample
from retinal_lib.display import Shown, count


@dataclass
class Checks:
    """Conversations with a finding, by kind and severity: `before` in the first that an image got, `after` in the last.
    `repaired` counts images that were accepted after findings were sent back, `rejected` those that still had errors."""

    version: int
    before: Counter = field(default_factory=Counter)
    after: Counter = field(default_factory=Counter)
    repaired: int = 0
    rejected: int = 0

    def add(self, sample: Sample) -> None:
        """Counts one image."""
        first = sample.repairs[0]["findings"] if sample.repairs else sample.findings
        self.before.update({(f["kind"], f["severity"]) for f in first})
        self.after.update({(f["kind"], f["severity"]) for f in sample.findings})
        self.repaired += bool(sample.repairs) and sample.state == "accepted"
        self.rejected += bool(sample.repairs) and sample.state == "rejected"

    @property
    def table(self) -> pd.DataFrame:
        """Kinds of findings, the most frequent first: in how many conversations before and after repair."""
        kinds = sorted({*self.before, *self.after}, key=lambda kind: (-self.before[kind], kind))
        return Shown(
            [(*kind, self.before[kind], self.after[kind]) for kind in kinds], columns=["finding", "severity", "before", "after"]
        )

    @property
    def summary(self) -> str:
        """The checks in one sentence."""
        if not self.before:
            return "The checks found nothing."
        text = f"{count(self.repaired, 'conversation')} put right after a corrective turn, "
        text += f"{self.rejected:,} rejected for what remained"
        warned = sum(n for (_, severity), n in self.after.items() if severity == "warning")
        return text + (f"; {count(warned, 'warning')} to look at in lineage.jsonl." if warned else ".")

    def manifest(self) -> dict:
        """The same as plain data."""
        told = {
            name: [{"kind": kind, "severity": severity, "conversations": n} for (kind, severity), n in sorted(counts.items())]
            for name, counts in (("before_repair", self.before), ("after_repair", self.after))
        }
        return {"version": self.version, **told, "repaired": self.repaired, "rejected": self.rejected}
