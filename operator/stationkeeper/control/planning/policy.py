"""The plan of one DriftPolicy: only its status. What it causes happens in the Models that it watches."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import ValidationError

from stationkeeper.api.base import faults
from stationkeeper.api.conditions import ConditionType, Reason
from stationkeeper.api.driftpolicy import DriftPolicySpec, DriftPolicyStatus
from stationkeeper.api.verdicts import CheckStatus, Verdict
from stationkeeper.control.planning import cron, drift
from stationkeeper.control.planning.conditions import Claim, events, settle
from stationkeeper.control.planning.intent import judgement_digest
from stationkeeper.control.planning.types import Object, Plan, Settings


def selects(policy: Object, model: Object) -> bool:
    """Whether this policy watches this model (of the same namespace)."""
    if policy["metadata"].get("namespace") != model["metadata"].get("namespace"):
        return False
    spec = policy.get("spec") or {}
    if "modelRef" in spec:
        return bool((spec["modelRef"] or {}).get("name") == model["metadata"]["name"])
    wanted = (spec.get("modelSelector") or {}).get("matchLabels") or {}
    labels = model["metadata"].get("labels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def plan_policy(policy: Object, models: Sequence[Object], now: datetime, settings: Settings) -> Plan:
    """The status of one policy: how many Models it watches, and how many have drifted by it."""
    del settings  # same signature as plan_model
    if policy["metadata"].get("deletionTimestamp"):
        return Plan()
    generation = int(policy["metadata"].get("generation") or 0)
    before = _status(policy)
    watched = [model for model in models if selects(policy, model)]
    claims = [_trouble(policy, watched, now)]
    failing = claims[0].status == "True"
    ready = Claim(
        ConditionType.READY,
        "False" if failing else "True",
        claims[0].reason if failing else Reason.UP_TO_DATE,
        claims[0].message if failing else f"watches {len(watched)} model{'' if len(watched) == 1 else 's'}",
    )
    settled = settle([ready, *claims], before.conditions, generation, now)
    after = DriftPolicyStatus(
        observed_generation=generation,
        conditions=settled,
        models=len(watched),
        drifted=0 if failing else sum(_drifted(policy, model, now) for model in watched),
    )
    return Plan(status=after.wire(), events=tuple(events(settled, before.conditions)))


def _status(policy: Object) -> DriftPolicyStatus:
    try:
        return DriftPolicyStatus.model_validate(policy.get("status") or {})
    except ValidationError:
        return DriftPolicyStatus()


def _trouble(policy: Object, watched: Sequence[Object], now: datetime) -> Claim:
    kind = ConditionType.STALLED
    try:
        spec = DriftPolicySpec.model_validate(policy["spec"])
        cron.next_after(spec.schedule, now)
    except ValidationError as error:
        return Claim(kind, "True", Reason.INVALID_SPEC, faults(error, "spec"))
    except cron.InvalidCronError as error:
        return Claim(kind, "True", Reason.INVALID_SPEC, f"spec.schedule: {error}")
    if not watched:
        where = f"named {spec.model_ref.name}" if spec.model_ref else "with these labels"
        return Claim(
            kind, "True", Reason.NO_POLICY_MATCH, f"no Model {where} in this namespace; create it or correct the reference"
        )
    return Claim(kind, "False", Reason.UP_TO_DATE, "nothing stands in the way")


def _drifted(policy: Object, model: Object, now: datetime) -> bool:
    spec = DriftPolicySpec.model_validate(policy["spec"])
    lag = ((model.get("spec") or {}).get("labels") or {}).get("lag") or "0s"
    view = drift.PolicyView(policy["metadata"]["uid"], policy["metadata"]["name"], spec, judgement_digest(spec), lag)
    for raw in (model.get("status") or {}).get("checks") or []:
        if raw.get("policyUID") != view.uid or spec.suspend:
            continue
        try:
            check = CheckStatus.model_validate(raw)
            found = (drift.drift(view, check, now), drift.quality(view, check, now))
            return any(finding is not None and finding.verdict == Verdict.BREACHED for finding in found)
        except ValidationError:
            return False
    return False
