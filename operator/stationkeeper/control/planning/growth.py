"""When as much time has passed again as a revision's rows span: it knows half of what could be known. Pure.

What more rows are worth falls with how many there are, so that trainings at 2, 4, 8 ... times the span catch most of it, in numbers that grow
with the logarithm of time alone (learning curves: Figueroa et al., BMC Medical Informatics 12:8, 2012; the doubling trick of online learning). Of a sliding window it is the
moment from which none of its rows is known.
"""

from datetime import datetime, timedelta

from stationkeeper.api.data import Data
from stationkeeper.api.revision import ModelRevisionSpec

_LEAST = timedelta(days=1)  # below a day rows say more of the hour than of the world
_MOST = 32  # doublings


def span(record: ModelRevisionSpec, data: Data) -> timedelta | None:
    """The time that a revision's rows span; None where it is not known, or its rows have a clock of their own (`asOf: LatestRow`)."""
    if data.as_of != "Now" or record.data_since is None or record.data_through is None:
        return None
    return max(record.data_through - record.data_since, _LEAST)


def moments(record: ModelRevisionSpec, data: Data, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The last moment until now at which what could be known had doubled once more, and the next one."""
    length = span(record, data)
    if length is None:
        return None, None
    last = None
    for doublings in range(1, _MOST):
        try:
            moment = record.trained_at + length * (2**doublings - 1)
        except OverflowError:
            return last, None
        if moment > now:
            return last, moment
        last = moment
    return last, None
