"""Prometheus, asked for numbers by name: the administrator wrote the queries, and a Model can only choose among them.

A query is PromQL with places: `${namespace}`, `${model}`, `${stable}` and `${candidate}` (numbers of revisions), `${seconds}` (since the step of
the canary began). Names of Kubernetes and whole numbers are all that is ever filled in, so that nobody who writes a Model writes PromQL.
What comes back is bounded in size and time, and one finite number of it is believed; anything else is no answer.
"""

import asyncio
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import yaml
from pydantic import Field, ValidationError, field_validator

from stationkeeper.api.base import ApiModel
from stationkeeper.control.planning.queries import Answer

logger = logging.getLogger(__name__)
Object = dict[str, Any]

_SECONDS = 3.0  # that an answer may take
_BYTES = 64 * 1024  # that it may say
_AT_ONCE = 8  # requests of all Models
_PLACE = re.compile(r"\$\{([^{}]*)\}")
_PLACES = ("namespace", "model", "stable", "candidate", "seconds")
_LABEL = re.compile(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
)  # nothing that PromQL or a regular expression of it would take for more
_WORD = re.compile(r"[a-z_]{1,32}")

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class PrometheusError(Exception):
    """The file cannot be used; the message names the entry and the field."""


class NoAnswerError(Exception):
    """There is no number to go by; the message says why."""


class Query(ApiModel):
    """One query that Models may name."""

    query: Annotated[str, Field(min_length=1, max_length=2048)]  # an instant query that gives one number
    description: Annotated[str, Field(max_length=512)] = ""

    @field_validator("query")
    @classmethod
    def _places_are_known(cls, query: str) -> str:
        if strange := sorted(set(_PLACE.findall(query)) - set(_PLACES)):
            raise ValueError(f"places that nothing fills: {', '.join(strange)}; there are {', '.join(_PLACES)}")
        return query

    def filled(self, values: Mapping[str, str]) -> str:
        """The PromQL, with a value in each place."""
        return _PLACE.sub(lambda place: values[place[1]], self.query)


class Prometheus(ApiModel):
    """Where it is, and what may be asked."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=2048)]  # what `/api/v1/query` is added to
    queries: Annotated[dict[Name, Query], Field(max_length=256)] = {}


def read_prometheus(path: str) -> Prometheus:
    """The file `prometheus: {url, queries: {NAME: {query, description}}}`.

    Raises:
        PrometheusError: when it cannot be read; the address, which may hold a password, is not in the message.
    """
    try:
        return Prometheus.model_validate((yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("prometheus"))
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise PrometheusError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise PrometheusError(f"{path}: {'.'.join(('prometheus', *map(str, first['loc'])))}: {first['msg']}") from None


class Inquirer:
    """Asks what the analysis of a canary names."""

    def __init__(self, prometheus: Prometheus | None) -> None:
        self._prometheus = prometheus
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, model: Object, now: datetime) -> dict[str, Answer]:
        """An answer to each query of a Model whose canary is at a step; none while there is no step."""
        names, values = _named(model), _values(model, now)
        if not names or values is None:
            return {}
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            answers = await asyncio.gather(*(self._answer(session, name, values) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _answer(self, session: aiohttp.ClientSession, name: str, values: Mapping[str, str]) -> Answer:
        try:
            return Answer(await self._number(session, name, values))
        except NoAnswerError as error:
            problem = str(error)
        except TimeoutError:
            problem = f"Prometheus does not answer within {_SECONDS:.0f} s"
        except aiohttp.ClientError as error:
            problem = f"Prometheus cannot be asked ({type(error).__name__})"  # its text may hold the address, and that a password
        logger.debug("query %s: %s", name, problem)
        return Answer(None, problem)

    async def _number(self, session: aiohttp.ClientSession, name: str, values: Mapping[str, str]) -> float:
        if self._prometheus is None or name not in self._prometheus.queries:
            raise NoAnswerError("the operator's configuration has no such query")
        address = f"{self._prometheus.url.rstrip('/')}/api/v1/query"
        asked = {"query": self._prometheus.queries[name].filled(values), "timeout": f"{_SECONDS:.0f}s"}
        async with self._free, session.get(address, params=asked, allow_redirects=False) as answer:
            text = await answer.content.read(_BYTES + 1)
            while len(text) <= _BYTES and (more := await answer.content.read(_BYTES + 1)):
                text += more
        if len(text) > _BYTES:
            raise NoAnswerError(f"it has more than {_BYTES} bytes; a query must give one number")
        return number(answer.status, text)


def _named(model: Object) -> list[str]:
    """Names of the queries in the spec, each once."""
    rollout = ((model.get("spec") or {}).get("serving") or {}).get("rollout") or {}
    return list(dict.fromkeys(query["name"] for query in (rollout.get("analysis") or {}).get("queries") or []))


def _values(model: Object, now: datetime) -> dict[str, str] | None:
    """What goes into the places; None while no canary is at a step."""
    meta, status = model["metadata"], model.get("status") or {}
    stable, candidate = status.get("serving") or {}, status.get("candidate") or {}
    since = candidate.get("stepSince")
    if not since or not stable or not all(_LABEL.fullmatch(meta[part]) for part in ("namespace", "name")):
        return None
    seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    return {
        "namespace": meta["namespace"],
        "model": meta["name"],
        "stable": str(int(stable["number"])),
        "candidate": str(int(candidate["number"])),
        "seconds": str(max(1, seconds)),
    }


def number(status: int, text: bytes) -> float:
    """The one number of an answer of Prometheus' HTTP API: of a scalar, or of a vector with a single element.

    Raises:
        NoAnswerError: when there is none, or more than one.
    """
    try:
        said = json.loads(text)
        if said["status"] != "success":
            kind = str(said.get("errorType"))
            raise NoAnswerError(f"Prometheus refuses it ({kind if _WORD.fullmatch(kind) else status})")
        data = said["data"]
        match data["resultType"]:
            case "scalar":
                value = float(data["result"][1])
            case "vector" if len(data["result"]) == 1:
                value = float(data["result"][0]["value"][1])
            case "vector":
                raise NoAnswerError(_not_one(len(data["result"])))
            case _:
                raise NoAnswerError("it gives no number but a row of them, or text; ask for an instant value")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise NoAnswerError(f"it is not in the form of Prometheus' API (status {status})") from error
    if not math.isfinite(value):
        raise NoAnswerError(f"it gives {value}")
    return value


def _not_one(series: int) -> str:
    return f"it gives {series} series; one is wanted" if series else "it gives no series: nothing was counted yet"


def names_of(prometheus: Prometheus | None) -> Iterable[str]:
    """Names that Models may use."""
    return prometheus.queries if prometheus else ()
