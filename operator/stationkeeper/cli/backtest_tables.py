"""A replay on a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.verdicts import Verdict

if TYPE_CHECKING:  # the workloads are an extra
    from stationkeeper.workloads.backtest.course import Backtest

_RIGHT: Final = ("ROWS", "REVISION", "TRAININGS", "REFUSED", "FAILED", "BREACHED", "ASKED FOR", "BETTER THAN NEVER BY")
_SENTENCES: Final = ("WHY", "WHAT WAS FOUND")
_COLOURS: Final[Mapping[str, str]] = {
    Verdict.BREACHED: "red",
    Verdict.PASSED: "green",
    TrainingOutcome.PUBLISHED: "green",
    TrainingOutcome.REFUSED: "yellow",
    TrainingOutcome.FAILED: "red",
    TrainingOutcome.INVALID_DATA: "red",
}
_MINUTES: Final = "%Y-%m-%d %H:%M"


class Tables:
    """What was found, the conclusion first."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, found: "Backtest") -> None:
        """Print everything."""
        self._console.print(Text(f"{found.summary}."))
        stretch = f"first model from {found.start:{_MINUTES}} to {found.begin:{_MINUTES}}, then windows of {found.window}"
        self._console.print(Text(f"{found.model} under {found.policy}: {stretch} until {found.end:{_MINUTES}} UTC"))
        for note in found.notes:
            self._console.print(Text(f"note: {note}"))
        if found.scored:
            self._courses(found)
        self._windows(found)
        self._trainings(found)
        self._rows(
            ("VARIANT", "IS", "BREACHED", "ASKED FOR", "FIRST AT"),
            [
                (
                    v.change,
                    v.direction,
                    f"{v.breached} of {v.windows}",
                    str(v.trainings),
                    f"{v.first:{_MINUTES}}" if v.first else "-",
                )
                for v in found.variants
            ],
        )

    def _courses(self, found: "Backtest") -> None:
        measure = f"MEAN {found.measure.upper()}"
        rows = []
        for course in found.courses:
            score = "-" if course.score is None else f"{found.shown(course.score):.4f}"
            gain = "-"
            if course.gain:
                gain = f"{course.gain.value:+.4f}"
                if course.gain.low is not None and course.gain.high is not None:
                    gain += f" ({course.gain.low:+.4f} to {course.gain.high:+.4f})"
            rows.append((course.name, score, gain, str(course.trained), str(course.refused), str(course.failed)))
        self._rows(("RULE", measure, "BETTER THAN NEVER BY", "TRAININGS", "REFUSED", "FAILED"), rows)

    def _windows(self, found: "Backtest") -> None:
        measure = (found.measure.upper(),) if found.scored else ()
        rows = []
        for w in found.courses[0].windows:
            at, score = f"{w.start:{_MINUTES}}", ("-" if w.score is None else f"{found.shown(w.score):.4f}" for _ in measure)
            rows.append((at, f"{w.rows:,}", str(w.revision), *score, w.gravest.value, w.why))
            for part in w.before:
                rows.append(
                    (
                        f"{'its part before':>{len(at)}}",
                        f"{part.rows:,}",
                        str(part.revision),
                        *("" for _ in measure),
                        part.verdict.value,
                        part.message,
                    )
                )
        self._rows(("WINDOW FROM", "ROWS", "REVISION", *measure, "VERDICT", "WHY"), rows)

    def _trainings(self, found: "Backtest") -> None:
        rows = [(f"{t.at:{_MINUTES}}", t.cause.value, t.outcome.value, t.message) for t in found.courses[0].trainings]
        self._rows(("TRAINED AT", "CAUSE", "OUTCOME", "WHAT WAS FOUND"), rows)

    def _rows(self, headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
        if not rows:
            return
        table = Table(box=None)
        for heading in headings:
            right = heading in _RIGHT or heading.startswith("MEAN ")
            sentence = heading in _SENTENCES  # only these may be folded, on a narrow terminal
            table.add_column(heading, justify="right" if right else "left", no_wrap=not sentence, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        self._console.print()
        self._console.print(table)
