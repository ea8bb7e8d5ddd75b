"""The user's cron expression as a CronJob takes it."""

import re

from stationkeeper.api.base import sha256, short

_EVERY = re.compile(r"\*/0*([1-9][0-9]*)")
_DAYS = re.compile(r"([0-9]+)(?:-([0-9]+))?(?:/0*([1-9][0-9]*))?")
_LAST_MINUTE = 59


def check_schedule(cron: str, model_uid: str, policy_uid: str) -> str:
    """The schedule of the checks of one model by one policy.

    "Every 15 minutes" says how often and not at which minutes, so the count starts at a minute of the pair's own: thousands
    of checks do not all start in the same second. A minute that was named, and every other field, means what it meant.
    """
    minute, hour, day, month, weekday = cron.split(" ")
    return " ".join([_shifted(minute, f"{model_uid}/{policy_uid}"), hour, day, month, _sunday_first(weekday)])


def _shifted(minute: str, identity: str) -> str:
    every = _EVERY.fullmatch(minute)
    if every is None:
        return minute
    step = int(every[1])
    # No offset may cost a run: 0, 7, ... 56 are nine in an hour, and so are 3, 10, ... 59, but no later start has nine.
    start = int(short(sha256(identity.encode())), 16) % (_LAST_MINUTE % step + 1)
    return f"{start}-{_LAST_MINUTE}/{step}" if start else minute


def _sunday_first(weekday: str) -> str:
    """Sunday as 0: cron knows it as 7 too, a CronJob does not."""
    return ",".join(_without_seven(part) for part in weekday.split(","))


def _without_seven(part: str) -> str:
    days = _DAYS.fullmatch(part)
    if days is None or int(days[2] or days[1]) != 7:
        return part
    return ",".join(str(day % 7) for day in range(int(days[1]), 8, int(days[3] or 1)))
