"""What the step of a canary is judged by, asked for once a reconcile: the plans of one follow each other within moments.

A plan may begin the next step, or another candidate's, and pods come and go: numbers are of the step, the revisions and the pods that
they were asked for, and of nothing else.
"""

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from stationkeeper.api.meta import LABEL_REVISION
from stationkeeper.control.controllers.prometheus import Inquirer
from stationkeeper.control.controllers.scrape import Scraper
from stationkeeper.control.planning import Observed
from stationkeeper.control.planning.canary import Measured
from stationkeeper.control.planning.queries import Answer

Object = dict[str, Any]


class Measurements:
    """Those of one reconcile of one Model."""

    def __init__(self, scraper: Scraper, inquirer: Inquirer) -> None:
        self._scraper, self._inquirer = scraper, inquirer
        self._of: Hashable = None
        self._measured: Mapping[int, Measured] = {}
        self._answers: Mapping[str, Answer] = {}

    async def added(self, observed: Observed, now: datetime) -> Observed:
        """With what the pods counted since the canary's step began, and what Prometheus says of it, while there is one."""
        since = _candidate(observed.model).get("stepSince")
        if not since:
            return observed
        asked_of = _subject(observed)
        if asked_of != self._of:
            self._measured, self._answers = await asyncio.gather(
                self._scraper.measure(observed.pods, datetime.fromisoformat(since)), self._inquirer.ask(observed.model, now)
            )
            self._of = asked_of
        return replace(observed, measured=self._measured, answers=self._answers)


def _subject(observed: Observed) -> Hashable:
    """The step and its revisions, the spec that names the queries, and the pods with the address at which each is asked."""
    model = observed.model
    candidate, serving = _candidate(model), (model.get("status") or {}).get("serving") or {}
    step = (candidate.get("digest"), candidate.get("step"), candidate["stepSince"], serving.get("digest"))
    return step, model["metadata"].get("generation"), frozenset(_identity(pod) for pod in observed.pods)


def _identity(pod: Object) -> Hashable:
    meta = pod["metadata"]
    return meta.get("uid"), (meta.get("labels") or {}).get(LABEL_REVISION), (pod.get("status") or {}).get("podIP")


def _candidate(model: Object) -> Object:
    found: Object = (model.get("status") or {}).get("candidate") or {}
    return found
