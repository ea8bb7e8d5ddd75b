"""The page of a report: everything is on it, nothing foreign runs in it, and the pictures are true to the figures."""

import itertools
import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from stationkeeper.api.manifest import Score
from stationkeeper.api.report import DriftReport, QualityPoint, SegmentResult, Threshold, Violation
from stationkeeper.workloads.report.bars import HEIGHT, LABELS, MAX_CATEGORIES, WIDTH, bars
from stationkeeper.workloads.report.course import course
from stationkeeper.workloads.report.page import page
from stationkeeper.workloads.report.ranking import ranked
from stationkeeper.workloads.report.view import MAX_PICTURES, View
from stationkeeper.workloads.report.words import chance, length, number, percent, sentence, spaced
from tests.unit.workloads.report import samples

VOID = {"meta", "br", "rect", "line", "circle", "path", "i", "u"}
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}{% raw %}"


class Outline(HTMLParser):
    """Text, tags and whether they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def outline(report: DriftReport) -> Outline:
    found = Outline(page(report))
    assert found.open == []
    return found


# ---- what is on it ----


@pytest.mark.parametrize(
    "expected",
    [
        "Breached Broken data: dewp missing in 11.8% of rows (completeness); 2 of 12 features drifted",
        "What is done about it: The data is broken: automatic retraining is blocked until a window is whole again.",
        "2013-07-01 12:00 to 2013-07-01 13:00 UTC, 1 hour, 4,000 rows",
        "PSI 0.31 2.6× the threshold of 0.12",
        "ordinary variation of the reference chance 0.02 , ordinary 0.12 , least 0.02",
        "below 1 in a million",
        "The drifted ones are 41 % of the features by importance.",
        "4 columns not drifted",
        "precip holds too few values to compare.",
        "given by the policy",
        "10 to 20 30 % 5 %",
        "dewp Completeness missing in 11.8% of rows at most 5.1%, which is the reference's 0.1% and 5.0%",
        "roc_auc labels 0.71 (0.68 to 0.74) 0.78 (0.77 to 0.79) 0.73 0.21 Breached",
        "3,900 of 4,000 rows have a label, 80 missing, 20 conflicting; roc_auc fell by 0.07 from 0.78 on the holdout.",
        "withheld: its estimate was off on the last labelled period.",
        "Domain classifier 0.83 0.56 temp, dewp, carrier 4,000 against 5,000 Breached",
        "PCA reconstruction – – the revision has no principal components; the next training stores them.",
        "carrier = HA 12 – 12 rows are fewer than the 500 of minSamples. Insufficient data",
        "samples of the revision were deleted: segments were not compared.",
        "the rows that the revision learned from, 77,911 rows",
        "hourly aaaaaaaaaaaa",
    ],
)
def test_everything_that_was_found_is_on_the_page(expected: str) -> None:
    assert expected in outline(samples.full()).words


def test_what_drifted_the_most_comes_first_and_pictures_follow_that_order() -> None:
    view = View(samples.full())
    assert [c.name for c in view.drifted] == ["temp", "carrier"]
    assert [c.name for c in view.calm] == ["hour", "probability", "weekday", "precip"]
    assert [p.histogram.name for p in view.pictures] == ["probability", "temp", "carrier", "hour"]


def test_equals_stay_in_their_order_and_errors_come_first() -> None:
    columns = [
        samples.calm("a"),
        samples.open_("b"),
        samples.column("c"),
        samples.column("d"),
        samples.column("e", verdict="Error"),
    ]
    assert [c.name for c in ranked(columns)] == ["e", "c", "d", "a", "b"]


def test_a_quiet_window_has_no_empty_headings() -> None:
    words = outline(samples.report(columns=[samples.calm("hour")], histograms=[samples.numbers("hour")])).words
    assert "No column lies over its threshold." in words
    for heading in ("Broken data", "Quality", "All columns together", "Segments", "What could not be checked", "What is done"):
        assert heading not in words


@pytest.mark.parametrize("verdict", ["InsufficientData", "Error"])
def test_a_window_without_anything_is_a_page_too(verdict: str) -> None:
    words = outline(
        samples.report(
            verdict=verdict, data=verdict, features=verdict, predictions=verdict, message="no traffic", rows=0, drifted_share=None
        )
    ).words
    assert f"{spaced(verdict)} No traffic." in words


def test_a_check_by_hand_names_no_revision_and_no_predictions_that_nobody_asked_for() -> None:
    words = outline(
        samples.report(policyUid="", predictions="InsufficientData", end=samples.START, columns=[samples.calm("hour")])
    ).words
    assert "Revision" not in words
    assert "Predictions" not in words
    assert "4,000 rows against 77,911" in words


# ---- what must not be on it ----


def hostile() -> DriftReport:
    name = HOSTILE
    return samples.report(
        model=name, policy=name, message=name, action=name, baseline=name, notes=[name], verdict="Breached",
        columns=[samples.column(name, message=name), samples.open_(name)],
        histograms=[samples.categories(name, bins=[name, f"{name}2", "missing"], reference=[0.5, 0.4, 0.1], current=[0.4, 0.5, 0.1]),
                    samples.numbers(name)],
        violations=[Violation(type="unseen_category", column=name, observed=name, expected=name)],
        segments=[SegmentResult(column=name, value=name, rows=1, verdict="Breached", message=name)],
        quality=[samples.quality(metric=name, message=name, segment=name), samples.estimate(withheld=name)],
        multivariate=[m.model_copy(update={"columns": [name], "message": name}) for m in samples.full().multivariate],
        history=samples.history(2),
    )  # fmt: skip


def test_hostile_names_are_text() -> None:
    found = outline(hostile())
    assert "script" not in found.tags
    assert found.words.count("<script>alert(1)</script>") > 15
    assert "{{ 7 * 7 }}" in found.words
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert not any("<script" in (value or "") and name not in ("aria-label",) for name, value in found.attributes)


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = page(hostile())
    assert not re.search(r"""(src|href|action|srcset|background)\s*=|url\(|@import|javascript:""", html.replace("&", ""))
    assert "default-src 'none'" in html
    assert page(samples.full()) == page(samples.full())


def test_hundreds_of_columns_stay_a_page_that_opens() -> None:
    names = [f"c{i}" for i in range(300)]
    html = page(samples.report(columns=[samples.column(n) for n in names], histograms=[samples.numbers(n) for n in names]))
    assert html.count("<figure") == MAX_PICTURES
    assert "240 more are in the JSON report only." in html
    assert len(html) < 1_500_000


# ---- pictures ----


def test_bars_are_as_long_as_their_shares() -> None:
    picture = bars(samples.numbers())
    assert picture.top == 0.5
    assert [round(bar.now / HEIGHT, 3) for bar in picture.bars] == [0.02, 0.1, 0.4, 1.0, 0.4, 0.08]
    edges = [(bar.at, bar.at + bar.size) for bar in picture.bars]
    assert all(0 <= low < high <= WIDTH for low, high in edges)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(edges))
    assert [(label.anchor, label.text) for label in picture.labels] == [("start", "< 10"), ("end", "> 40"), ("middle", "missing")]


def test_the_ends_of_an_axis_are_single_numbers() -> None:
    picture = bars(samples.numbers(bins=["0 to 1", "1 to 2"], reference=[0.5, 0.5], current=[0.1, 0.9]))
    assert [label.text for label in picture.labels] == ["0", "2"]


def test_categories_beyond_room_are_one_bar_and_nothing_is_lost() -> None:
    histogram = samples.categories(count=21, bins=[*(f"C{i}" for i in range(21)), "47 more", "unseen", "missing"],
                                   reference=[0.03] * 21 + [0.3, 0.0, 0.07], current=[0.03] * 20 + [0.2, 0.1, 0.05, 0.05])  # fmt: skip
    picture = bars(histogram)
    assert len(picture.bars) == MAX_CATEGORIES
    assert [bar.label for bar in picture.bars[-4:]] == ["C20", "all other", "unseen", "missing"]
    assert sum(bar.reference for bar in picture.bars) == pytest.approx(1.0)
    assert sum(bar.current for bar in picture.bars) == pytest.approx(1.0)
    assert all(LABELS + bar.now <= WIDTH for bar in picture.bars)


def test_a_long_category_is_cut_in_the_picture_and_whole_in_the_figures() -> None:
    name = "a category with a very long name"
    histogram = samples.categories(bins=[name, "missing"], reference=[1.0, 0.0], current=[1.0, 0.0])
    assert bars(histogram).bars[0].short == "a category with …"
    assert name in outline(samples.report(histograms=[histogram])).words


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_column_without_a_value_is_drawn_empty(kind: str) -> None:
    picture = bars(samples.numbers(kind=kind, bins=["missing"], reference=[1.0], current=[1.0]))
    assert [bar.label for bar in picture.bars] == ["missing"]
    assert bars(samples.numbers(kind=kind, bins=[], reference=[], current=[])).bars == []


def test_the_course_of_quality_goes_with_time_and_score() -> None:
    found = course(samples.full())
    assert found is not None
    assert [point.estimated for point in found.points] == [False] * 7 + [True, False]
    across = [point.x for point in found.points]
    assert across == sorted(across)
    assert [round(b - a, 6) for a, b in itertools.pairwise(across)] == [round(across[1] - across[0], 6)] * 8
    assert all(point.high <= point.y <= point.low for point in found.points)  # a picture's y grows downwards
    assert found.points[-1].y > found.points[0].y
    assert [line.text for line in found.lines] == ["on the holdout", "breached below"]


def test_one_score_is_a_course_and_none_is_not() -> None:
    alone = course(samples.report(history=[QualityPoint(start=samples.START, method="Labels", score=Score(value=0.5))]))
    assert alone is not None
    assert len(alone.points) == 1
    assert "over a constant" not in alone.points[0].title
    skilled = QualityPoint(start=samples.START, method="Labels", score=Score(value=0.75), skill=0.25)
    found = course(samples.report(history=[skilled]))
    assert found is not None
    assert found.points[0].title.endswith("Labels: 0.75, 0.25 over a constant")
    assert course(samples.report(quality=[samples.estimate()])) is None


# ---- words ----


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(0.043321), "0.0433"), (number(12_379), "12,379"), (number(-1.25), "−1.25"), (number(None), "–"), (number(0), "0"),
        (number(3.2e9), "3.20e+09"), (percent(0.33), "33 %"), (percent(0.0031), "0.31 %"), (percent(0.9996), "99.96 %"),
        (percent(1), "100 %"), (percent(0), "0 %"), (chance(2e-64), "below 1 in a million"), (chance(0.0971), "9.7 %"),
        (spaced("InsufficientData"), "Insufficient data"), (spaced("PCAReconstruction"), "PCA reconstruction"),
        (spaced("unit_change"), "Unit change"), (sentence("broken data"), "Broken data."), (sentence("so?"), "So?"),
        (length(samples.START, samples.START + timedelta(hours=1)), "1 hour"),
        (length(samples.START, samples.START + timedelta(days=14)), "14 days"),
        (length(samples.START, samples.START + timedelta(minutes=90)), "1.5 hours"),
    ],
)  # fmt: skip
def test_figures_read_well(shown: str, expected: str) -> None:
    assert shown == expected


def test_the_part_of_a_threshold_that_decides_is_named() -> None:
    def of(**more: Any) -> str:
        return View.deciding(samples.column(**more))

    assert of(parts=Threshold(noise=0.5, variation=0.1, effect=0.2)) == "chance at these sizes"
    assert of(parts=Threshold(noise=0.1, variation=0.1, effect=0.2)) == "the least worth an alarm"
    assert of(parts=None, calibrated=False) == "given by the policy"
