"""What Prometheus answered to the queries that a Model names, held to the Model's bounds. Pure.

The operator's configuration has the queries, a Model has their names and what their numbers may be. No answer is missing evidence:
it is neither a breach nor a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stationkeeper.api.serving import AnalysisQuery
from stationkeeper.api.status import QueryResult


@dataclass(frozen=True)
class Answer:
    """What one query gave."""

    value: float | None  # a finite number
    problem: str = ""  # why there is none


def results(queries: Sequence[AnalysisQuery], answers: Mapping[str, Answer]) -> list[QueryResult]:
    """Every query that the Model names, with its bounds and what came of it."""
    unasked = Answer(None, "it has not been asked yet")
    return [
        QueryResult(name=query.name, min=query.min, max=query.max, value=answer.value, problem=answer.problem[:256])
        for query in queries
        for answer in (answers.get(query.name, unasked),)
    ]


def breached(found: Sequence[QueryResult]) -> str | None:
    """The first number that lies past its bound."""
    for result in found:
        if result.value is None:
            continue
        if result.max is not None and result.value > result.max:
            return f"the query {result.name} gives {result.value:g}; at most {result.max:g} is allowed"
        if result.min is not None and result.value < result.min:
            return f"the query {result.name} gives {result.value:g}; at least {result.min:g} is asked for"
    return None


def unanswered(found: Sequence[QueryResult]) -> str | None:
    """Which queries gave no number, and why."""
    silent = [f"the query {result.name} has no answer: {result.problem}" for result in found if result.value is None]
    return "; ".join(silent) or None


def told(found: Sequence[QueryResult]) -> str:
    """The numbers, for the end of a sentence."""
    return "".join(f", {result.name} {result.value:g}" for result in found if result.value is not None)
