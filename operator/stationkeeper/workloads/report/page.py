"""The drift report as one page for people: self-contained, offline, without scripts.

The templates beside this draw what `view` has put in order. Everything that comes from data or policies (names of columns,
categories, messages) is escaped.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stationkeeper.api.report import DriftReport
from stationkeeper.workloads.report import bars, course, words
from stationkeeper.workloads.report.view import View


def page(report: DriftReport) -> str:
    """The HTML of a report. The same report gives the same bytes."""
    return _template().render(report=report, view=View(report))


@cache
def _template() -> Template:
    environment = drawing()
    environment.globals |= {"bars": bars, "course": course}
    return environment.get_template("page.html")


def drawing(*more: Path) -> Environment:
    """What all pages are drawn with: the templates beside this, those in `more` folders, and words."""
    environment = Environment(
        loader=FileSystemLoader([*more, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= words.FILTERS
    return environment
