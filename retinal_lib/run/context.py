"""What one run works on, settled before anything is asked and handed down to all who carry it out."""

from dataclasses import dataclass
from pathlib import Path

from retinal_lib.ask.limits import BatchSettings
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.page import Page
from retinal_lib.run.settings import Settings
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import Teacher


@dataclass(frozen=True)
class RunContext:
    """The settings of a run, its dataset with the chosen images, its teacher, and the limits of batches."""

    settings: Settings
    page: Page
    data: BaseDescription
    images: list[str]
    teacher: Teacher
    limits: BatchSettings
    folder: Path  # absolute

    @property
    def prefix(self) -> str:
        """What stands before an image's name in exported files."""
        own = self.settings.image_prefix
        return self.page.image_prefix if own is None else own

    @property
    def asks_server(self) -> bool:
        """True where requests go to a server, so that they have a price."""
        return self.settings.teacher == "openai"

    @property
    def sends_images(self) -> bool:
        """True where the teacher sees the pictures."""
        return self.asks_server and self.settings.images == "send"

    def estimate(self) -> cost.Estimate:
        """Returns an empty account of what requests would take."""
        kind = self.settings.style or self.settings.track
        if not self.asks_server:
            return cost.Estimate(None, kind)
        return cost.Estimate(self.teacher.price, kind, cost.allowed(self.settings.request))
