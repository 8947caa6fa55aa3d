"""Request options that a server refuses, such as max_tokens of some models: sent under their other name, or left out."""

import re

_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_REFUSED = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra[_ ](?:forbidden|inputs)|deprecated|only the default|cannot both"
    r"|(?:not|n't)(?: be)? (?:support|allow|permit|recogni|accept|available)",
    re.IGNORECASE,
)
_IN_QUOTES = {"user", "stop", "n"}  # options whose names are common words


class RefusedOptions:
    """The options that a server refused so far. `changes` has for each the name under which it is sent, "" where it is left
    out, and the server's reason."""

    def __init__(self) -> None:
        self.changes: dict[str, tuple[str, str]] = {}

    @property
    def notes(self) -> list[str]:
        """A sentence on each option that is not sent as it was set."""
        return [
            f"The server refused the option {name} ({why}): " + (f"sent as {new}." if new else "requests are sent without it.")
            for name, (new, why) in self.changes.items()
        ]

    def apply(self, options: dict) -> dict:
        """Returns options, or a body with them, in the form that the server takes."""
        new = {name: value for name, value in options.items() if name not in self.changes}
        for name, (other, _) in self.changes.items():
            if other and name in options:
                new.setdefault(other, options[name])
        return new

    def add(self, reason: str, sent: dict) -> str:
        """Reads the reason why a server refused a request with these options; returns the option that it names, if the request
        may pass with that changed, else "". The limit of an answer's length is never left out: it limits the cost."""
        places = {name: place for name in sent if (place := _place(name, reason)) >= 0} if _REFUSED.search(reason) else {}
        if not places:
            return ""
        name = min(places, key=places.__getitem__)
        if name in self.changes:  # another request was refused before
            return name
        other = _OTHER_NAMES.get(name, "")
        if other in self.changes:
            return ""
        self.changes[name] = (other, reason.removeprefix("the server refused the request (").removesuffix(")"))
        return name


def _place(name: str, reason: str) -> int:
    pattern = rf"(?<![\w.-]){re.escape(name)}(?![\w-])"
    if name in _IN_QUOTES:
        pattern = rf"(?<=['\"`]){re.escape(name)}(?=['\"`])"
    found = re.search(pattern, reason)
    return found.start() if found and name not in ("model", "messages") else -1
