"""Paths of the Open Inference Protocol v2. Pure."""

from enum import Enum
from typing import Final


class Route(Enum):
    """What a path asks for."""

    SERVER = "server"
    LIVE = "live"
    READY = "ready"
    MODEL = "model"
    MODEL_READY = "model ready"
    INFER = "infer"
    METRICS = "metrics"
    NOTHING = "nothing"


READING: Final = ("GET", "HEAD")
_FIXED: Final = {
    "/v2": Route.SERVER,
    "/v2/health/live": Route.LIVE,
    "/v2/health/ready": Route.READY,
    "/metrics": Route.METRICS,
}
_SUFFIXES: Final = {"": Route.MODEL, "ready": Route.MODEL_READY, "infer": Route.INFER}


def allowed(route: Route) -> tuple[str, ...]:
    """The methods of a route."""
    return ("POST",) if route is Route.INFER else READING


def table(model: str, version: str) -> dict[str, Route]:
    """Every path that a pod serving this version of this model answers; a lookup in it is the whole routing."""
    paths = dict(_FIXED)
    for prefix in (f"/v2/models/{model}", f"/v2/models/{model}/versions/{version}"):
        for suffix, route in _SUFFIXES.items():
            paths[f"{prefix}/{suffix}" if suffix else prefix] = route
    return paths | {f"{path}/": route for path, route in paths.items()}
