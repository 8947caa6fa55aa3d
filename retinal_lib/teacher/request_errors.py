"""Why a request to a teacher or a server got no answer."""


class RequestFailed(Exception):
    """Raised where a request got no answer; the message says why. The next run sends it again."""


class Refused(RequestFailed):
    """Raised where the server refused a request for what is in it."""


class NotFound(RequestFailed):
    """Raised where the server has nothing at an address (404), or redirects elsewhere."""


class DeliveryUnknown(RequestFailed):
    """Raised where it is not known whether a call reached the server."""


class OutcomeUnknown(RequestFailed):
    """Raised where it is not known whether the server made a batch, and its list of batches cannot be read."""


class RunStopped(Exception):
    """Raised where no request can be answered any more (a wrong key, no quota, no server); the message says why."""


class Unreachable(RunStopped):
    """Raised where the server did not answer many calls in a row."""
