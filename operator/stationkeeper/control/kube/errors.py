"""What can go wrong with a request to the API server.

ApiError
├── RetriableError          the same request may succeed later
│   ├── UnavailableError    no answer, 5xx, or the deadline passed
│   ├── ThrottledError      429; says when to come back
│   ├── ConflictError       409: what was read is not what is; read again
│   └── GoneError           410: what a list began with is no longer kept; begin again
└── TerminalError           the same request fails again
    ├── NotFoundError       404
    ├── ForbiddenError      401, 403
    └── InvalidError        400, 422; names the field
"""

from stationkeeper.api.meta import GROUP


class ApiError(Exception):
    """A request to the API server failed."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RetriableError(ApiError):
    """The same request may succeed later."""


class UnavailableError(RetriableError):
    """No answer, a server error, or the deadline passed."""


class ThrottledError(RetriableError):
    """The server is busy."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, 429)
        self.retry_after = retry_after  # seconds


class ConflictError(RetriableError):
    """The object has changed since it was read, or exists already."""


class GoneError(RetriableError):
    """The rest of a list is of a time that the server has forgotten."""


class TerminalError(ApiError):
    """The same request would fail again."""


class NotFoundError(TerminalError):
    """There is no such object or kind."""


class ForbiddenError(TerminalError):
    """The operator may not do this."""


class InvalidError(TerminalError):
    """The API server refuses the object; the message names the field."""


_MISTYPED = "failed to create typed patch object"
_UNDECLARED = "field not declared in schema"


def from_status(status: int, message: str, retry_after: str | None = None) -> ApiError:
    """The typed error of an HTTP status."""
    if status == 500 and _MISTYPED in message:  # so the API server answers an apply whose fields do not fit the kind
        older = GROUP in message and _UNDECLARED in message
        advice = (
            "the cluster's CRDs are older than this operator: kubectl apply --server-side -f crds/ (Helm does not upgrade CRDs); "
        )
        return InvalidError(f"{advice if older else ''}{message}", status)
    match status:
        case 404:
            return NotFoundError(message, status)
        case 401 | 403:
            return ForbiddenError(message, status)
        case 409:
            return ConflictError(message, status)
        case 410:
            return GoneError(message, status)
        case 429:
            return ThrottledError(message, float(retry_after) if retry_after and retry_after.isdigit() else 1.0)
        case 400 | 405 | 415 | 422:
            return InvalidError(message, status)
        case _:
            return UnavailableError(message, status)
