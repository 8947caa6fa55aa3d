"""What replies make of an image: the one state it ends in. Both ways of asking, now and later, end here."""

from dataclasses import dataclass

from retinal_lib import check, conversation
from retinal_lib.teacher import Request, Teacher
from retinal_lib.vault import Reply, Sample


@dataclass(frozen=True)
class Entry:
    """One image of a plan: its state so far, and the request where it is to be asked for."""

    sample: Sample
    request: Request | None = None


def take(sample: Sample, request: Request, reply: Reply, teacher: Teacher) -> bool:
    """Reads a reply into its image's state: accepted, or rejected with the reason. True where it is accepted."""
    reading = teacher.read(reply.raw)
    bill = {"channel": reply.channel, **reading.tokens, "used": False}
    sample.usage.append(bill)
    sample.state, sample.reason = "rejected", reading.problem
    sample.attempt, sample.request_id = reply.attempt, reply.request_id
    if reading.problem:
        return False
    try:
        turns = conversation.parse(reading.text)
    except conversation.Unparsable as error:
        sample.reason = f"the reply is no conversation: {error}"
        return False
    sample.state, bill["used"] = "accepted", True
    sample.conversation = conversation.to_llava(turns)
    sample.findings = check.findings(turns, request.case.description, request.track, request.style)
    return True


def take_known(sample: Sample, request: Request, known: list[Reply], teacher: Teacher) -> bool:
    """As `take`, over the replies on hand, in order, until one is accepted."""
    return any(take(sample, request, reply, teacher) for reply in known)
