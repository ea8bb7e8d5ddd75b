"""How an attempt can end before its last step."""

from stationkeeper.api.status import TrainingOutcome


class AttemptEnded(Exception):  # noqa: N818 - most endings are no errors
    """The attempt is over, with this outcome. `reason` is one CamelCase word, `message` says what to do."""

    def __init__(self, outcome: TrainingOutcome, reason: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.reason = reason
        self.message = message if len(message) <= 1000 else message[:997] + "..."


def invalid(reason: str, message: str) -> AttemptEnded:
    """The data or the spec does not allow a training; the same again would end the same."""
    return AttemptEnded(TrainingOutcome.INVALID_DATA, reason, message)


def waiting(message: str) -> AttemptEnded:
    """The drift cannot be learned yet."""
    return AttemptEnded(TrainingOutcome.WAITING_FOR_LABELS, "WaitingForLabels", message)


def quarantined(message: str) -> AttemptEnded:
    """The same code on the same data has made a revision that had to be taken back."""
    return AttemptEnded(TrainingOutcome.QUARANTINED, "Quarantined", message)


def failed(reason: str, message: str) -> AttemptEnded:
    """The training itself broke."""
    return AttemptEnded(TrainingOutcome.FAILED, reason, message)
