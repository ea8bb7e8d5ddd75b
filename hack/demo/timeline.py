"""What happened, as it happens: one line for each change of the Model's status. Pure but for the printing."""

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape

Object = dict[str, Any]
_COLOURS = {"good": "green", "bad": "yellow", "do": "cyan", "": "white"}


def condition(model: Object, type_: str) -> Object:
    """One condition of a Model, or an empty one."""
    conditions = (model.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == type_), {})


def changes(before: Object, after: Object) -> Iterator[tuple[str, str]]:
    """What has changed between two states of the Model, as (mood, sentence)."""
    old, new = before.get("status") or {}, after.get("status") or {}
    yield from _windows(old, new)  # first what was seen, then what is done about it
    for type_ in ("Drifted", "DataValid", "Stalled"):
        was, now = condition(before, type_), condition(after, type_)
        if (was.get("status"), was.get("reason")) != (now.get("status"), now.get("reason")) and now.get("reason") not in _DULL:
            bad = (type_, now.get("status")) in (("Drifted", "True"), ("DataValid", "False"), ("Stalled", "True"))
            yield "bad" if bad else "good", f"{type_}={now.get('status')}: {now.get('message')}"
    last = new.get("lastTraining")
    if last and last != old.get("lastTraining"):
        mood = {"Published": "good", "WaitingForLabels": "do"}.get(last["outcome"], "bad")
        why = "" if last["reason"] == last["outcome"] else f" ({last['reason']})"
        yield mood, f"training ended: {last['outcome']}{why}; {last['message']}"
    if (new.get("episode") or {}).get("attempt", 0) and _attempt(new) != _attempt(old):
        episode = new["episode"]
        yield "do", f"training started: {episode['cause']}, attempt {episode['attempt']} (episode {episode['id']})"
    if new.get("candidate") and new.get("candidate") != old.get("candidate"):
        yield "do", f"revision {new['candidate']['number']} comes up and must reproduce its golden rows"
    if new.get("serving") and (new["serving"].get("number") != (old.get("serving") or {}).get("number")):
        yield "good", f"revision {new['serving']['number']} serves"


_DULL = {None, "NotChecked", "UpToDate", "InsufficientData"}


def _attempt(status: Object) -> tuple[str, int]:
    episode = status.get("episode") or {}
    return episode.get("id", ""), episode.get("attempt", 0)


def _windows(old: Object, new: Object) -> Iterator[tuple[str, str]]:
    for window in _fresh(old, new, "windows"):
        breached = "Breached" in (window["data"], window["features"], window["predictions"])
        yield (
            "bad" if breached else "",
            f"window {window['start'][11:16]}: {window.get('rows', 0)} rows, {window.get('message', '')}",
        )
    for window in _fresh(old, new, "quality"):
        mood = {"Passed": "good", "Breached": "bad"}.get(window["verdict"], "")
        yield mood, f"labels of window {window['start'][11:16]}: {window.get('message', '')}"


def _fresh(old: Object, new: Object, group: str) -> list[Object]:
    """Windows that the older status did not have, of the revision that serves."""
    known = {(c["revisionDigest"], w["start"]) for c in old.get("checks") or [] for w in c.get(group) or []}
    checks = new.get("checks") or []
    return [w for c in checks for w in c.get(group) or [] if (c["revisionDigest"], w["start"]) not in known]


class Timeline:
    """Prints lines with the time since the start; colours on a terminal, plain when piped."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._traffic = 0.0

    def tell(self, text: str, mood: str = "") -> None:
        """One line."""
        elapsed = int(time.monotonic() - self._started)
        colour = _COLOURS[mood]
        self.console.print(f"[dim]{elapsed // 60:02d}:{elapsed % 60:02d}[/dim]  [{colour}]{escape(text)}[/{colour}]")

    def traffic(self, line: Object, every: float = 20.0) -> None:
        """How the replay goes, now and then."""
        if not line or time.monotonic() - self._traffic < every:
            return
        self._traffic = time.monotonic()
        by = ", ".join(f"revision {number}: {count}" for number, count in sorted(line["revisions"].items()))
        answered = f" ({by})" if by else ""
        self.tell(f"flights until {line['through']}: {line['sent']} requests, {line['failed']} failed{answered}")
