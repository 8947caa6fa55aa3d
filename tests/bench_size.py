"""How much `make bench` measures: everything, or with SHORT=yes so little that CI can see on each change that it still runs."""

import os

SHORT = os.environ.get("SHORT") == "yes"


def size(whole: int, short: int) -> int:
    """A count: of the whole bench, or of its short form."""
    return short if SHORT else whole
