"""What people are told when conditions change."""

from datetime import UTC, datetime

import pytest

from stationkeeper.api.conditions import Condition, Reason
from stationkeeper.control.planning.conditions import events

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def condition(type_: str, status: str, reason: Reason, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message, last_transition_time=NOW)


COMING = condition("Available", "False", Reason.STARTING, "revision 1 comes up")
ALIKE = condition("RolloutProgressing", "True", Reason.CANDIDATE_STARTING, "revision 1 comes up")
GRAVE = condition("RolloutProgressing", "False", Reason.CANDIDATE_FAILED, "revision 1 comes up")


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ((COMING, ALIKE), [("Normal", "Starting")]),
        ((COMING, GRAVE), [("Warning", "CandidateFailed")]),
        ((GRAVE, COMING), [("Warning", "CandidateFailed")]),
        ((COMING, ALIKE.model_copy(update={"message": "another"})), [("Normal", "Starting"), ("Normal", "CandidateStarting")]),
    ],
)
def test_what_two_conditions_say_alike_is_told_once_by_the_graver_one(after, told):
    assert [(event.type, event.reason) for event in events(after, ())] == told
    assert events(after, after) == []
