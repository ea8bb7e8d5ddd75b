"""What the operator would do next for a Model, and why not yet, in plain words. Pure: from the object alone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
_MANY = 3  # windows in a sentence


def explain(model: Object, now: datetime) -> list[str]:
    """Sentences about what serves, what comes up, what was found and what is waited for, the most urgent first."""
    status = model.get("status") or {}
    if not status.get("conditions"):
        return ["The operator has not looked at this Model yet: is it running, and does it watch this namespace?"]
    sentences = (
        *_stalled(status),
        *_serving(model, status),
        *_rollout(model, status),
        *_routed(status),
        *_found(status),
        *_training(model, status, now),
        *_storage(status, now),
    )
    return [_ended(sentence) for sentence in sentences]


def _ended(sentence: str) -> str:
    """With one mark at its end: messages that come from elsewhere, as the scheduler's, may bring their own."""
    return sentence[:-1] if sentence.endswith(("..", "?.")) else sentence


def _condition(status: Object, type_: str) -> Object:
    return next((c for c in status["conditions"] if c["type"] == type_), {})


def _stalled(status: Object) -> Iterator[str]:
    stalled = _condition(status, "Stalled")
    if stalled.get("status") == "True":
        yield f"Nothing goes on until somebody acts: {stalled['message']}."


def _said(status: Object, message: str) -> bool:
    """Whether a message only repeats why nothing goes on."""
    stalled = _condition(status, "Stalled")
    return stalled.get("status") == "True" and stalled["message"] in message


def _serving(model: Object, status: Object) -> Iterator[str]:
    serving = status.get("serving")
    if not serving:
        why = _condition(status, "Available").get("message", "no revision yet")
        yield "Nothing serves." if _said(status, why) else f"Nothing serves: {why}."
        return
    pods = f"{status.get('readyReplicas', 0)} of {status.get('replicas', 0)} pods ready"
    yield f"Revision {serving['number']} serves, {pods}."
    pin = model["spec"].get("revision")
    if pin is not None:
        yield f"spec.revision pins revision {pin}: no rollout and no automatic training until the pin is removed."


def _rollout(model: Object, status: Object) -> Iterator[str]:
    rolling = _condition(status, "RolloutProgressing")
    if status.get("candidate") or rolling.get("reason") in ("CandidateFailed", "RevisionNotFound"):
        yield f"Rollout: {rolling['message']}."
    if rolling.get("reason") == "WaitingForApproval":
        name = model["metadata"]["name"]
        yield f"It waits for a person: stationkeeper approve {name}, or stationkeeper reject {name}."


def _routed(status: Object) -> Iterator[str]:
    routed = _condition(status, "Routed")
    if routed and routed.get("status") != "True":
        yield f"Through the Gateway: {routed['message']}."
        return
    weights = (status.get("route") or {}).get("weights") or []
    if weights:
        shares = [f"{weight['weight']} % to revision {weight['revision']}" for weight in weights]
        yield f"Through the Gateway: {', '.join(shares)}."


def _found(status: Object) -> Iterator[str]:
    for type_, subject in (("DataValid", "Data"), ("Drifted", "Drift")):
        condition = _condition(status, type_)
        if condition.get("message"):
            yield f"{subject}: {condition['message']}."
    skewed = _condition(status, "Skewed")
    if skewed.get("status") == "True":
        yield f"Skew: {skewed['message']}."
    for check in status.get("checks") or []:
        verdicts = [window["features"] for window in (check.get("windows") or [])[-_MANY:]]
        if verdicts:
            yield f"Policy {check['policy']}: the newest windows said {', '.join(verdicts)} of the features."
        late = [window["verdict"] for window in ((check.get("retired") or {}).get("quality") or [])[-_MANY:]]
        if late:
            yield f"Policy {check['policy']}: of the revision before, the newest labels said {', '.join(late)}."


def _training(model: Object, status: Object, now: datetime) -> Iterator[str]:
    retraining, waiting, episode = _condition(status, "Retraining"), status.get("waiting"), status.get("episode")
    if retraining.get("status") == "True" and episode:
        yield f"Training now: attempt {episode['attempt']} for {episode.get('askedBy') or episode['cause']}."
    elif waiting:
        yield f"A training is wanted for {waiting['cause']} but waits ({waiting['reason']}): {waiting['message']}."
        if waiting.get("until"):
            yield f"It is looked at again {_in(waiting['until'], now)}."
    else:
        yield "Nothing asks for a training now."
    last = status.get("lastTraining")
    if last:
        why = "as said above" if _said(status, last["message"]) else last["message"]
        yield f"The last training, for {last['cause']}, ended {_in(last['finishedAt'], now)} as {last['outcome']}: {why}."
        if last["outcome"] == "Refused" and last.get("revision"):
            yield f"Its challenger is kept on record as revision {last['revision']}, Rejected ({last['reason']}): it never serves."
    schedule = model["spec"].get("training", {}).get("schedule")
    if schedule:
        yield f"It is trained by schedule too: {schedule} (UTC)."
    if status.get("growsAt"):
        yield f"If nothing else does before, growth asks for a training {_in(status['growsAt'], now)}: as much could be learned then as was."
    yield from _source(model, status)


def _storage(status: Object, now: datetime) -> Iterator[str]:
    """What was taken over from storage, what was deleted there, and what cannot be seen there."""
    restore, sweep, watched = (status.get(key) or {} for key in ("restore", "sweep", "watched"))
    if restore.get("done"):
        yield f"Storage was taken over {_in(restore['at'], now)}: {restore['message']}."
    if sweep.get("done"):
        part = ", but for a part" if sweep.get("failed") else ""
        yield f"Storage was swept {_in(sweep['at'], now)}{part}: {sweep['message']}."
    elif sweep:
        yield f"Storage is being swept; that began {_in(sweep['at'], now)}."
    if watched.get("trouble"):
        yield f"The code at {watched['uri']} cannot be seen: {watched['trouble']}."


def _source(model: Object, status: Object) -> Iterator[str]:
    """What is known of the file that another pipeline publishes."""
    source, seen = model["spec"].get("source"), status.get("source") or {}
    if not source:
        return
    if _condition(status, "Drifted").get("status") == "True":
        yield "Only the pipeline that publishes this model can answer the drift: what it has published would only come again."
    if seen.get("message"):
        yield f"The published file cannot be used: {seen['message']}."
    elif seen.get("digest"):
        yield f"At {source['uri']} lies {seen['digest'].removeprefix('sha256:')[:12]}, first seen {seen['seenAt']}."
    else:
        yield f"Nobody has looked at {source['uri']} yet; it is looked at by {source.get('schedule', '*/5 * * * *')} (UTC)."


def _in(moment: str, now: datetime) -> str:
    """`in 5 minutes`, `2 hours ago`."""
    seconds = (datetime.fromisoformat(moment).astimezone(UTC) - now).total_seconds()
    amount = abs(seconds)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if amount >= length:
            count = int(amount // length)
            text = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"in {text}" if seconds > 0 else f"{text} ago"
    return "now"
