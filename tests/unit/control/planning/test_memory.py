"""What is remembered of checks: how long verdicts count, what is skew and no drift, what becomes of a revision's last windows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.meta import ENV_CONFIG
from stationkeeper.api.status import RetiredRef
from stationkeeper.api.summary import CheckSummary
from stationkeeper.api.verdicts import CheckStatus, QualityVerdict, Verdict, WindowVerdict
from stationkeeper.cli.explain import explain
from stationkeeper.control.planning import drift as drifting
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.findings import findings
from stationkeeper.control.planning.intent import judgement_digest
from stationkeeper.control.planning.memory import REMEMBERED, remember
from stationkeeper.control.planning.policy import plan_policy
from stationkeeper.control.planning.skew import Origin
from tests.support.world import START, World, digest, policy

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
LETTERS = {"P": Verdict.PASSED, "B": Verdict.BREACHED, "?": Verdict.INSUFFICIENT_DATA, "!": Verdict.ERROR}
GOOD = ("Passed", "Passed", "Passed")
DRIFT = ("Passed", "Breached", "Passed")
SHIFT = ("Passed", "Passed", "Breached")
BROKEN = ("Breached", "InsufficientData", "InsufficientData")
FIRST, SECOND = digest("first"), digest("second")


def view(**spec: Any) -> PolicyView:
    found = DriftPolicySpec.model_validate({"modelRef": {"name": "flights"}, **spec})
    return PolicyView("p", "watch", found, judgement_digest(found), "2h")


def window(hour: float, letter: str, *, data: str = "P", hours: float = 1, predictions: str = "P") -> WindowVerdict:
    start = NOON + hour * HOUR
    told = {
        "features": letter,
        "predictions": "?" if letter == "?" else predictions,
        "data": "?" if letter + data == "?P" else data,
    }
    said = {group: LETTERS[found] for group, found in told.items()}
    return WindowVerdict(start=start, end=start + hours * HOUR, rows=1000, message=f"{letter} at {hour:g}", **said)


def course(letters: str, **more: Any) -> list[WindowVerdict]:
    """One window an hour; a space is an hour of which nothing was told."""
    return [window(hour, letter, **more) for hour, letter in enumerate(letters) if letter != " "]


def labelled(letters: str) -> list[QualityVerdict]:
    starts = ((NOON + hour * HOUR, letter) for hour, letter in enumerate(letters) if letter != " ")
    return [QualityVerdict(start=start, end=start + HOUR, verdict=LETTERS[letter], message=letter) for start, letter in starts]


def told(policy: PolicyView, windows: list[WindowVerdict], revision: str = FIRST, **more: Any) -> CheckSummary:
    return CheckSummary(policy_uid="p", policy_digest=policy.digest, revision_digest=revision, windows=windows, **more)


def memory(
    policy: PolicyView, *summaries: CheckSummary, before: list[CheckStatus] | None = None, revision: str = FIRST, **more: Any
) -> list[CheckStatus]:
    return remember(before or [], [policy], {"p": list(summaries)}, revision, more.pop("now", NOON), **more)


# ---- how long verdicts count ----

EXPIRY: list[tuple[str, str, float, str, bool]] = [
    ("M of N at once", "BB", 2, "Breached", False),
    ("as long as 3 N windows and the next check", "BB", 10, "Breached", False),
    ("and no longer", "BB", 11, "InsufficientData", True),
    ("a pass expires too", "PPP", 13, "InsufficientData", True),
    ("silence that is told keeps nothing alive", "BB??????????", 12, "InsufficientData", True),
    ("two breaches far apart are not two of three", "B             B", 15, "InsufficientData", True),
    ("a pass after them says that it is over", "BB             P", 16, "Passed", False),
    ("N windows within their time count together", "B    B", 6, "Breached", False),
]


@pytest.mark.parametrize(("name", "letters", "hours", "verdict", "expired"), EXPIRY, ids=[row[0] for row in EXPIRY])
def test_verdicts_count_for_three_times_n_windows(name: str, letters: str, hours: float, verdict: str, expired: bool) -> None:
    policy = view()
    (check,) = memory(policy, told(policy, course(letters)))
    found = drifting.drift(policy, check, NOON + hours * HOUR + 5 * MINUTE)
    assert (found.verdict, found.expired) == (verdict, expired)


def test_what_has_expired_says_what_came_since() -> None:
    policy = view()
    (silent,) = memory(policy, told(policy, course("BB??")))
    (untold,) = memory(policy, told(policy, course("BB")))
    late = NOON + DAY
    assert drifting.drift(policy, silent, late).message.endswith("until 2026-03-02 14:00 UTC, has expired; ? at 3")
    assert drifting.drift(policy, untold, late).message.endswith("has expired; no check has told of a newer window")


def test_verdicts_of_rare_checks_live_until_the_next_has_had_its_time() -> None:
    policy = view(window="5m", schedule="0 3 * * *")
    start = datetime(2026, 3, 3, 2, 50, tzinfo=UTC)
    windows = [
        window(0, "B").model_copy(update={"start": start + i * 5 * MINUTE, "end": start + (i + 1) * 5 * MINUTE}) for i in (0, 1)
    ]
    (check,) = memory(policy, told(policy, windows))
    at = [(4, 0), (23, 59), (27, 14), (27, 16)]
    found = [drifting.drift(policy, check, datetime(2026, 3, 3, tzinfo=UTC) + h * HOUR + m * MINUTE).verdict for h, m in at]
    assert found == ["Breached", "Breached", "Breached", "InsufficientData"]


def test_windows_that_may_grow_live_longer() -> None:
    policy = view(maxWindow="8h")
    (check,) = memory(policy, told(policy, [window(0, "B", hours=8), window(8, "B", hours=6)]))
    found = [drifting.drift(policy, check, NOON + (14 + age) * HOUR + 5 * MINUTE).verdict for age in (65, 70)]
    assert found == ["Breached", "InsufficientData"]


def test_verdicts_on_labels_live_their_lag_longer() -> None:
    policy = view(quality={"metric": "roc_auc", "min": 0.6})
    (check,) = memory(policy, told(policy, [], quality=labelled("BB")))
    for hours, verdict in ((12, "Breached"), (13, "InsufficientData")):
        found = drifting.quality(policy, check, NOON + hours * HOUR + 5 * MINUTE)
        assert found is not None
        assert found.verdict == verdict


def test_broken_data_stays_broken_until_a_window_is_whole() -> None:
    policy = view()
    (check,) = memory(policy, told(policy, course("??", data="B")))
    assert drifting.data(policy, check, NOON + 30 * DAY).verdict == "Breached"
    (check,) = memory(policy, told(policy, course("PP")))
    assert drifting.data(policy, check, NOON + 30 * DAY).expired


def test_windows_of_millennia_expire_never() -> None:
    policy = view(window="99999d")
    (check,) = memory(policy, told(policy, course("BB")))
    assert drifting.drift(policy, check, NOON + 9 * DAY).verdict == "Breached"


def test_an_open_episode_outlives_the_verdicts_that_opened_it() -> None:
    world = World(policies=(policy(),))
    world.serve_first()
    world.model["spec"]["retraining"]["cooldown"] = "9h"
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.advance(hours=3)
    world.settle()
    assert world.condition("Drifted")["reason"] == "VerdictsExpired"
    assert world.model["status"]["episode"]["cause"] == "Drift"
    assert world.model["status"]["waiting"]["reason"] == "Cooldown"
    world.check(GOOD, GOOD)
    world.settle()
    assert "episode" not in world.model["status"]


def test_what_has_expired_opens_nothing() -> None:
    world = World(policies=(policy(action="Observe"),))
    world.serve_first()
    world.advance(hours=2)
    world.check(DRIFT, DRIFT)
    world.settle()
    world.advance(hours=1)
    world.policies = [policy()]
    world.settle()
    assert "episode" not in world.model["status"]


def test_an_onset_lies_not_before_the_revision_served() -> None:
    world = World(policies=(policy(window="1h"),))
    world.serve_first()
    world.advance(hours=1)
    summary = told(view(window="1h"), [])
    since = datetime.fromisoformat(world.model["status"]["serving"]["since"])
    assert since.minute, "it began within a window"
    floor = since.replace(minute=0, second=0)
    windows = [window(0, "B").model_copy(update={"start": floor + i * HOUR, "end": floor + (i + 1) * HOUR}) for i in (0, 1)]
    check = world.model["status"]["checks"][0]
    check["windows"] = [w.wire() for w in windows]
    assert summary.windows == []
    world.advance(hours=1)
    world.settle()
    assert datetime.fromisoformat(world.model["status"]["episode"]["onset"]) == since


def test_a_policy_whose_windows_may_not_grow_so_far_says_so() -> None:
    world = World()
    for most, says in (("59m", "spec.maxWindow: must be as long as 1h"), ("2d", "and as 32 of them at most")):
        plan = plan_policy(policy(window="1h", maxWindow=most), [world.model], world.now, world.settings)
        assert plan.status is not None
        (stalled,) = (c for c in plan.status["conditions"] if c["type"] == "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
        assert says in stalled["message"]


# ---- what is remembered ----


def test_silence_does_not_push_out_what_was_seen() -> None:
    policy = view()
    checks = memory(policy, told(policy, course("BB")))
    for day in range(5):
        silence = [window(2 + 8 * day + hour, "?") for hour in range(8)]
        checks = memory(policy, told(policy, silence), before=checks)
    kept = [w.features for w in checks[0].windows]
    assert kept == ["Breached", "Breached"] + ["InsufficientData"] * 8
    checks = memory(policy, told(policy, [window(100 + i, "P") for i in range(16)]), before=checks)
    assert [w.features for w in checks[0].windows] == ["InsufficientData"] * 8 + ["Passed"] * REMEMBERED


def test_summaries_in_any_order_give_the_same_memory() -> None:
    policy = view(maxWindow="8h")
    stages = [
        told(policy, [window(0, "?", hours=1)]),
        told(policy, [window(0, "?", hours=2)]),
        told(policy, [window(0, "P", hours=3), window(3, "?")]),
        told(policy, [window(0, "P", hours=3), window(3, "?", hours=2)]),
    ]
    forth, back = memory(policy, *stages), memory(policy, *reversed(stages))
    assert forth == back
    assert [(w.features, (w.end - w.start) / HOUR) for w in forth[0].windows] == [("Passed", 3), ("InsufficientData", 2)]
    assert memory(policy, *stages, before=forth) == forth


# ---- skew ----

SKEW: list[tuple[str, dict[str, Any], str, str, str | None]] = [
    ("from the first window on, of new rows", {}, "True", "Unknown", None),
    ("the training's rows are old", {"through": START - 8 * DAY}, "False", "True", "Drift"),
    ("nobody knows how old they are", {"through": None}, "False", "True", "Drift"),
    ("the policy never calls it so", {"spec": {"skewWithin": "0s"}}, "False", "True", "Drift"),
    ("the policy says how new they must be", {"through": START - 8 * DAY, "spec": {"skewWithin": "9d"}}, "True", "Unknown", None),
    ("a window matched first", {"windows": (GOOD, DRIFT, DRIFT)}, "False", "True", "Drift"),
    ("one window is not M of N", {"windows": (DRIFT,)}, "False", "False", None),
    ("answers alone differ", {"windows": (SHIFT, SHIFT)}, "True", "Unknown", None),
    ("broken data is no skew", {"windows": (BROKEN, BROKEN)}, "Unknown", "Unknown", None),
    ("the policy only tells", {"spec": {"action": "Observe"}}, "True", "Unknown", None),
]


@pytest.mark.parametrize(("name", "given", "skewed", "drifted", "cause"), SKEW, ids=[row[0] for row in SKEW])
def test_what_differs_from_the_start_is_skew_and_retrains_nobody(
    name: str, given: dict[str, Any], skewed: str, drifted: str, cause: str | None
) -> None:
    world = World(policies=(policy(**given.get("spec", {})),))
    world.serve_first(given.get("through", START))
    world.advance(minutes=5)
    world.check(*given.get("windows", (DRIFT, DRIFT)))
    world.settle()
    assert world.condition("Skewed")["status"] == skewed
    assert world.condition("Drifted")["status"] == drifted
    assert world.model["status"].get("episode", {}).get("cause") == cause
    assert world.condition("Ready")["status"] == "True"


def skewed_world() -> World:
    world = World(policies=(policy(quality={"metric": "roc_auc", "min": 0.6}),))
    world.model["spec"]["labels"] = {"uri": "s3://labels/flights/"}
    world.serve_first(START)
    world.advance(minutes=5)
    world.check(DRIFT, DRIFT)
    world.settle()
    return world


def test_people_are_told_of_skew_once_and_what_to_look_at() -> None:
    world = skewed_world()
    world.advance(minutes=1)
    world.check(DRIFT, DRIFT, DRIFT)
    world.settle()
    said = [line for line in world.transcript if "SkewDetected" in line]
    assert len([line for line in said if "event Warning SkewDetected" in line]) == 1
    assert "serving makes columns otherwise than training" in world.condition("Skewed")["message"]
    assert world.condition("Drifted")["reason"] == "SkewDetected"
    plan = plan_policy(world.policies[0], [world.model], world.now, world.settings)
    assert plan.status is not None
    assert plan.status["drifted"] == 0


def test_skew_clears_when_windows_pass_and_what_it_showed_is_no_drift() -> None:
    world = skewed_world()
    seen = []
    for windows in ((GOOD,), (GOOD,), (DRIFT,), (DRIFT,)):
        world.advance(minutes=1)
        world.check(*windows)
        world.settle()
        seen.append((world.condition("Skewed")["status"], world.condition("Drifted")["status"]))
    assert seen == [("True", "Unknown"), ("False", "False"), ("False", "False"), ("False", "True")]
    assert world.model["status"]["episode"]["cause"] == "Drift"


def test_skew_outlives_the_windows_that_showed_it() -> None:
    policy = view()
    windows = [window(i, "B") for i in range(REMEMBERED + 9)]
    checks: list[CheckStatus] = []
    for one in windows:
        checks = memory(policy, told(policy, [one]), before=checks, origin=Origin(NOON - HOUR))
    later = NOON + 60 * DAY
    checks = memory(policy, told(policy, [window(24 * 60, "B")]), before=checks, origin=Origin(NOON - HOUR))
    found = findings([policy], checks, later + HOUR)
    assert (found.skew.verdict if found.skew else None, found.drift.verdict if found.drift else None) == (
        "Breached",
        "InsufficientData",
    )


def test_a_skewed_model_whose_quality_is_lost_is_trained_for_that() -> None:
    world = skewed_world()
    world.advance(minutes=1)
    world.check(DRIFT, DRIFT, quality=("Breached", "Breached"))
    world.settle()
    assert world.condition("Skewed")["status"] == "True"
    assert world.model["status"]["episode"]["cause"] == "Quality"


def replaced(world: World, through: datetime | None) -> World:
    """A person asks for revision 2, and its first windows differ from the start."""
    world.annotate(retrain="please")
    world.settle()
    world.publish("second", through=through)
    world.settle()
    world.ready(2)
    world.settle()
    world.advance(minutes=5)
    world.check(DRIFT, DRIFT)
    world.settle()
    return world


def test_a_new_revision_of_a_skewed_one_is_skewed_too() -> None:
    world = skewed_world()
    replaced(world, world.now)
    assert world.model["status"]["serving"]["number"] == 2
    assert (world.condition("Skewed")["status"], world.model["status"].get("episode")) == ("True", None)


def test_drift_that_a_training_did_not_cure_is_still_drift() -> None:
    world = World(policies=(policy(action="Observe"),))
    world.serve_first(START)
    world.advance(minutes=5)
    world.check(GOOD, DRIFT, DRIFT)
    world.settle()
    replaced(world, world.now)
    assert world.model["status"]["checks"][0]["driftedBefore"] is True
    assert (world.condition("Skewed")["status"], world.condition("Drifted")["status"]) == ("False", "True")


@pytest.mark.parametrize(("changed", "skewed"), [(False, "False"), (True, "True")], ids=["the same code", "changed code"])
def test_where_the_same_code_had_matched_before_it_is_the_world_that_moved(changed: bool, skewed: str) -> None:
    world = World(policies=(policy(action="Observe"),))
    world.serve_first(START)
    world.advance(minutes=5)
    world.check(GOOD, GOOD)
    world.settle()
    if changed:
        world.model["spec"]["training"]["estimator"]["params"] = {"max_iter": 7}
        world.edit("columns are made otherwise")
    replaced(world, world.now)
    assert world.model["status"]["serving"]["number"] == 2
    assert world.model["status"]["checks"][0]["matchedBefore"] == ["features", "predictions"]
    assert world.condition("Skewed")["status"] == skewed
    assert world.condition("Drifted")["status"] == ("Unknown" if changed else "True")


def test_a_policy_that_judges_otherwise_makes_no_drift_of_skew() -> None:
    """By the time of the edit the training's rows are old; that it never matched is known from when they were new."""
    first, edited = view(), view(minSamples=600)
    (check,) = memory(first, told(first, course("BB")), origin=Origin(NOON))
    assert check.skewed == ["features"]
    late = [window(24 * 30 + hour, "B") for hour in (0, 1)]
    (check,) = memory(edited, told(edited, late), before=[check], origin=Origin(NOON))
    assert (check.policy_digest, check.skewed) == (edited.digest, ["features"])
    (check,) = memory(edited, told(edited, [window(24 * 30 + 2, "P")]), before=[check], origin=Origin(NOON))
    (check,) = memory(first, told(first, late), before=[check], origin=Origin(NOON))
    assert check.skewed == [], "it had matched: what differs now has moved"


def test_a_revision_that_answers_a_drift_or_serves_again_is_never_called_skewed() -> None:
    policy = view()
    for origin in (Origin(NOON, moved=True), Origin(None)):
        (check,) = memory(policy, told(policy, course("BB")), origin=origin)
        assert check.skewed == []
    (check,) = memory(policy, told(policy, course("BB")), origin=Origin(NOON))
    assert check.skewed == ["features"]


def test_skew_is_of_one_group_and_the_other_may_drift() -> None:
    policy = view()
    windows = [window(i, "B") for i in range(3)] + [window(i, "B", predictions="B") for i in (3, 4)]
    (check,) = memory(policy, told(policy, windows), origin=Origin(NOON))
    found = findings([policy], [check], NOON + 5 * HOUR)
    assert found.drift is not None
    assert (found.drift.verdict, found.drift.group) == ("Breached", "predictions")
    assert found.skew is not None
    assert found.skew.verdict == "Breached"


# ---- the revision before ----


def asked(world: World) -> dict[str, Any] | None:
    (cronjob,) = (o for (kind, _), o in world.objects.items() if kind == "CronJob")
    env = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"]
    found: dict[str, Any] | None = json.loads(next(v["value"] for v in env if v["name"] == ENV_CONFIG)).get("retired")
    return found


def test_the_revision_before_is_judged_until_its_labels_have_had_their_time() -> None:
    world = World(policies=(policy(quality={"metric": "roc_auc", "min": 0.6}),))
    world.model["spec"]["labels"] = {"uri": "s3://labels/flights/", "lag": "2h"}
    world.serve_first()
    assert asked(world) is None
    began = world.model["status"]["serving"]["since"]
    world.advance(minutes=5)
    world.check(GOOD, GOOD, quality=("Passed",))
    world.settle()
    replaced(world, None)
    switched = world.model["status"]["serving"]["since"]
    assert world.model["status"]["retired"] == {"number": 1, "digest": FIRST, "since": began, "until": switched}
    assert asked(world) == world.model["status"]["retired"]
    kept = world.model["status"]["checks"][0]["retired"]
    assert (kept["revisionDigest"], len(kept["windows"]), len(kept["quality"])) == (FIRST, 2, 1)
    assert "of the revision before, the newest labels said Passed." in "\n".join(explain(world.model, world.now))
    world.advance(hours=4, minutes=50)
    world.settle()
    assert asked(world) is not None
    world.advance(minutes=30)
    world.settle()
    assert asked(world) is None


def test_what_is_still_found_of_the_revision_before_joins_what_was_known_and_acts_on_nothing() -> None:
    policy = view(quality={"metric": "roc_auc", "min": 0.6})
    retired = RetiredRef(number=1, digest=FIRST, since=NOON, until=NOON + 2 * HOUR)
    checks = memory(policy, told(policy, course("P"), quality=labelled("P")))
    found = {"revision_digest": FIRST, "windows": [window(1, "B")], "quality": labelled(" BBB")}
    summary = told(policy, [], revision=SECOND, retired=found)
    checks = memory(policy, summary, before=checks, revision=SECOND, retired=retired)
    assert checks[0].retired is not None
    assert [w.features for w in checks[0].retired.windows] == ["Passed", "Breached"]
    assert [q.verdict for q in checks[0].retired.quality] == ["Passed", "Breached", "Breached", "Breached"]
    assert memory(policy, summary, before=checks, revision=SECOND, retired=retired) == checks
    said = findings([policy], checks, NOON + 6 * HOUR)
    assert {finding.verdict for finding in (said.drift, said.quality) if finding} == {"InsufficientData"}
    third = RetiredRef(number=2, digest=SECOND, since=NOON, until=NOON + 3 * HOUR)
    (check,) = memory(policy, before=checks, revision=digest("third"), retired=third)
    assert check.retired is not None
    assert (check.retired.revision_digest, check.retired.windows) == (SECOND, [])


def test_a_crash_before_the_status_of_a_switch_is_written_forgets_no_revision() -> None:
    for crash in range(6):
        world = World(policies=(policy(),))
        world.serve_first()
        began = world.model["status"]["serving"]["since"]
        world.annotate(retrain="please")
        world.settle()
        world.publish("second")
        world.settle()
        world.ready(2)
        world.step(crash_after=crash)
        world.advance(seconds=7)
        world.settle()
        status = world.model["status"]
        assert status["retired"] == {"number": 1, "digest": FIRST, "since": began, "until": status["serving"]["since"]}
