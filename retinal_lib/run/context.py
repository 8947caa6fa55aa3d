"""What one run works with: settings, dataset, images, teacher and limits."""

from dataclasses import dataclass
from pathlib import Path

from retinal_lib.ask.limits import BatchSettings
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.page import Page
from retinal_lib.run.settings import Settings
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import OpenAITeacher, Teacher


@dataclass(frozen=True)
class RunContext:
    """The settings of a run, its dataset with the selected images, its teacher, its second reader, if it has one, and the
    limits of batches."""

    settings: Settings
    page: Page
    data: BaseDescription
    images: list[str]
    teacher: Teacher
    reader: OpenAITeacher | None
    limits: BatchSettings
    folder: Path  # absolute

    @property
    def prefix(self) -> str:
        """The text before an image's name in exported files."""
        return self.settings.prefix(self.page)

    @property
    def asks_server(self) -> bool:
        """True where requests go to a server, so that they have a price."""
        return self.settings.teacher == "openai"

    @property
    def asked_notes(self) -> tuple[str, ...]:
        """What the teacher and the second reader say of how they were asked."""
        return tuple(dict.fromkeys((*self.teacher.notes, *(self.reader.notes if self.reader else ()))))

    @property
    def sends_images(self) -> bool:
        """True where the teacher sees the pictures."""
        return self.asks_server and self.settings.images == "send"

    @property
    def concurrency(self) -> int:
        """How many requests are sent at once: a small server on this machine has one place, where others would only wait."""
        return self.settings.concurrency or (1 if self.asks_server and self.teacher.server.local else 10)

    def estimate(self) -> cost.Estimate:
        """Returns an estimate of the tokens and cost of requests, to which none is added yet."""
        kind = self.settings.style or self.settings.track
        if not self.asks_server:
            return cost.Estimate(None, kind)
        return cost.Estimate(self.teacher.price, kind, cost.answer_limit(self.settings.request))

    def reading_estimate(self) -> cost.Estimate | None:
        """Returns the same for the second reader's requests in a dry run; None where there is none."""
        if self.reader is None or not self.settings.dry_run:
            return None
        return cost.Estimate(self.reader.price, "verdicts", cost.answer_limit(self.reader.options))
