"""Limits of mode batch: those set by the user, and those documented by servers."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from retinal_lib.parameters import Number, Whole
from retinal_lib.parsing import packaged_yaml


class BatchSettings(BaseModel):
    """Limits of mode batch; None stands for the server's limit in servers.yaml. `requests` and `bytes` are for one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    requests: Whole | None = Field(None, ge=1)
    bytes: Whole | None = Field(None, ge=10_000)
    enqueued_tokens: Whole | None = Field(None, ge=1)  # prompt tokens that may be pending at once
    poll_seconds: Number = Field(60, ge=0)  # between two requests for a batch's status, with wait
    resubmissions: Whole = Field(2, ge=0, le=20)  # how often a request is sent again after a failure that is not its fault

    def for_server(self, address: str) -> "BatchSettings":
        """Returns these limits, with a server's documented ones where none is set."""
        host = urlsplit(address).hostname or ""
        kinds = servers().values()
        kind = next((k for k in kinds if any(f".{host}".endswith(f".{name}") for name in k["hosts"])), servers()["other"])
        limits = {name: kind[name] for name in ("requests", "bytes", "enqueued_tokens") if getattr(self, name) is None}
        return self.model_copy(update=limits)


@cache
def servers() -> dict[str, dict]:
    """Reads the kinds of servers that have a Batch API, with their limits."""
    return packaged_yaml(Path(__file__).with_name("servers.yaml"))
