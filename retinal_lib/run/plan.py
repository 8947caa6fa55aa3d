"""The plan of a run: each selected image with its request, or with the reason why there is none."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from retinal_lib import files, paths
from retinal_lib.ask.runner import PlannedImage
from retinal_lib.ask.vault import ImageState
from retinal_lib.closed_questions import run_questions
from retinal_lib.closed_questions.run_questions import TRACK, RunQuestions
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.label_kinds import denied
from retinal_lib.errors import UserError
from retinal_lib.facts import Case, Fact, Source, source_rows
from retinal_lib.imaging import images
from retinal_lib.reader import second_reader, verdicts
from retinal_lib.run.context import RunContext
from retinal_lib.run.settings import params_file
from retinal_lib.slots import sheet
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import prompt
from retinal_lib.teacher.teachers import Request


class Planner:
    """The maker of a run's requests. `system` is the system prompt of all; `estimate` is for the requests of the latest pass
    over `images`, `to_read` for those of the second reader, in a dry run with one."""

    def __init__(self, context: RunContext):
        self.context = context
        self.estimate, self.to_read = context.estimate(), None
        settings = context.settings
        self._aspects = frozenset(prompt.track_aspects(settings.track))
        self._closed = settings.track == TRACK
        self.system = (
            prompt.text(TRACK)
            if self._closed
            else prompt.render(context.page, settings.track, settings.style, settings.answer_form)
        )
        self.sha256 = files.sha256(self.system)

    def case(self, image: Image | str) -> Case:
        """Returns an image with the facts that the run's track uses; their files are relative to the dataset's folder.
        UserError: the image is unknown or skipped."""
        case, root = self.context.data.describe(image), self.context.data.root
        facts = [f._replace(source=f.source.relative_to(root)) for f in case.facts if f.aspect in self._aspects]
        if text := " ".join((self.context.settings.hidden_text or "").split()).rstrip("."):
            file = paths.display_path(params_file(self.context.settings.name))
            facts.append(Fact("notes", "hidden_text", text, "", text, Source(file, None, "hidden_text"), text))
        return replace(case, facts=tuple(facts))

    @cached_property
    def questions(self) -> RunQuestions:
        """The closed questions of all selected images, chosen together the first time that one is needed, so that answers are
        balanced over the run; none on other tracks."""
        return (
            run_questions.plan(self.context.data, self._labelled(), self.context.settings.questions)
            if self._closed
            else RunQuestions()
        )

    def _labelled(self) -> Iterator[tuple[Case, tuple[Fact, ...]]]:
        """The usable images, each with what the cells of its row deny."""
        data = self.context.data
        for image in map(data.image, self.context.images):
            if not image.excluded_because:
                no = denied(data.page.facts, image)
                yield self.case(image), tuple(f._replace(source=f.source.relative_to(data.root)) for f in no)

    def _closed_request(self, case: Case) -> Request:
        """The questions of an image as a request that no model is sent, with all facts that their answers rest on."""
        asked = self.questions.asked(case.id)
        facts = dict.fromkeys((*case.facts, *(fact for each in asked for fact in each.facts)))
        told = "\n\n".join(f"Q: {each.turn.question}\nA: {each.turn.answer}\n({each.held_by})" for each in asked)
        return Request(FactSheet(replace(case, facts=tuple(facts)), ()), self.system, TRACK, None, told, asked=asked)

    def request(self, case: Case) -> Request:
        """Returns the request about an image with these facts, without its picture."""
        settings = self.context.settings
        if self._closed:
            return self._closed_request(case)
        facts = sheet.make(case, settings.seed, settings.measurements == "all")
        task = prompt.task(facts, settings.track, settings.style, settings.seed)
        return Request(facts, self.system, settings.track, settings.style, task)

    def images(self) -> Iterator[PlannedImage]:
        """Yields every selected image in order: with a request, or with the reason why there is none."""
        self.estimate, facts = self.context.estimate(), self.context.reading_estimate()
        for position, name in enumerate(self.context.images):
            image = self._planned(position, self.context.data.image(name))
            if image.request and self.context.asks_server:
                self.estimate.add(image.request.system, image.request.message, image.request.size)
                if facts:
                    read = verdicts.of_sample(image.row.id, image.request.sheet, ())
                    facts.add(read.system, read.message, None)
            yield image
        if facts:
            self.to_read = second_reader.estimate(facts, self.estimate.answer, self.context.settings.reader_share)

    def _planned(self, position: int, image: Image) -> PlannedImage:
        row = ImageState(position, image.id, image.export_name, image.split, "skipped", image.excluded_because)
        if image.excluded_because:
            return PlannedImage(row)
        try:
            size = images.sent_size(image.path)
        except UserError as error:
            row.reason = images.why_unreadable(image.path, error)
            return PlannedImage(row)
        case = self.case(image)
        if all(fact.name == "modality" for fact in case.facts):
            row.reason = "; ".join(["nothing is known about it", *case.missing])
            return PlannedImage(row)
        request = self.request(case)
        if self._closed and not request.asked:
            row.reason = "no closed question for it: too little is known of it, or no other image has another answer"
            return PlannedImage(row)
        facts = [fact for each in request.asked for fact in each.facts] if self._closed else case.facts
        row.state, row.prompt, row.sources = "failed", self.sha256, source_rows(facts)
        picture, pixels = (image.path, size) if self.context.sends_images else (None, None)
        return PlannedImage(row, replace(request, picture=picture, size=pixels))
