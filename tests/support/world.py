"""A little world for planning: it does what a plan says, as the API server would, and lets tests play the kubelet.

It keeps a transcript: one line per write and per event, which golden tests compare.
"""

import copy
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from stationkeeper.api.base import sha256
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import (
    CheckSummary,
    FailureSummary,
    HandoverSummary,
    ShadowSummary,
    SourceSummary,
    Summary,
    TrainingSummary,
)
from stationkeeper.api.verdicts import QualityVerdict, Verdict, WindowVerdict
from stationkeeper.control.planning import Observed, Plan, Settings, plan_model, workload_of
from stationkeeper.control.planning.canary import Measured
from stationkeeper.control.planning.queries import Answer

Object = dict[str, Any]
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SETTINGS = Settings(workloads_image="stationkeeper/workloads:test", drain_seconds=30)


def digest(text: str) -> str:
    return sha256(text.encode())


def model(name: str = "flights", **training: Any) -> Object:
    """A valid Model, as the API server would default it."""
    return {
        "apiVersion": "stationkeeper.dev/v1alpha1",
        "kind": "Model",
        "metadata": {
            "name": name,
            "namespace": "ops",
            "uid": "model-uid",
            "generation": 1,
            "labels": {"team": "ops"},
            "creationTimestamp": "2026-01-05T12:00:00Z",
        },
        "spec": {
            "storage": {"uri": "s3://models/flights", "endpointURL": "http://s3:7070", "secretName": "s3-credentials"},
            "serving": {"replicas": 2},
            "training": {
                "estimator": {"class": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 100}},
                "data": {"uri": "s3://data/flights/", "target": "late", "timestamp": "departed_at"},
                "evaluation": {"gates": [{"metric": "roc_auc", "min": 0.6, "maxDrop": 0.01}]},
                **training,
            },
            "retraining": {"cooldown": "1h"},
        },
    }


def sourced(**source: Any) -> Object:
    """A Model that another pipeline makes."""
    made = model()
    del made["spec"]["training"]
    made["spec"]["source"] = {"uri": "s3://published/flights/model.onnx", "format": "onnx", **source}
    return made


def policy(**spec: Any) -> Object:
    """A policy that watches the model, one window of a minute after the other."""
    return {
        "apiVersion": "stationkeeper.dev/v1alpha1",
        "kind": "DriftPolicy",
        "metadata": {"name": "watch", "namespace": "ops", "uid": "policy-uid", "generation": 1},
        "spec": {"modelRef": {"name": "flights"}, "schedule": "* * * * *", "window": "1m", **spec},
    }


class World:
    """State of one namespace with one Model, and the writes that brought it there."""

    def __init__(self, model_object: Object | None = None, policies: tuple[Object, ...] = ()) -> None:
        self.now = START
        self.model = copy.deepcopy(model_object or model())
        self.policies = list(policies)
        self.objects: dict[tuple[str, str], Object] = {}
        self.transcript: list[str] = []
        self._uids = itertools.count(1)
        self.measured: dict[int, Measured] = {}
        self.answers: dict[str, Answer] = {}  # of Prometheus
        self.settings = SETTINGS
        self.routable = True
        self.refusal = ""  # why the Gateway does not take routes over

    # -- what planning sees ------------------------------------------------------------------------------------------

    def kind(self, kind: str) -> tuple[Object, ...]:
        return tuple(copy.deepcopy(obj) for (k, _), obj in sorted(self.objects.items()) if k == kind)

    def observed(self) -> Observed:
        return Observed(
            model=copy.deepcopy(self.model),
            policies=tuple(self.policies),
            revisions=self.kind("ModelRevision"),
            deployments=self.kind("Deployment"),
            services=self.kind("Service"),
            cronjobs=self.kind("CronJob"),
            jobs=self.kind("Job"),
            pods=self.kind("Pod"),
            guards=(*self.kind("HorizontalPodAutoscaler"), *self.kind("PodDisruptionBudget")),
            workload=self.workload(),
            routes=self.kind("HTTPRoute") if self.routable else (),
            routable=self.routable,
            measured=self.measured,
            answers=self.answers,
        )

    def workload(self) -> Object | None:
        """What trains across machines for the attempt under way, as the API server would answer."""
        wanted = workload_of(self.model, self.settings)
        return copy.deepcopy(self.objects.get((wanted[0].kind, wanted[1]))) if wanted else None

    # -- what the operator does --------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        return plan_model(self.observed(), self.now, self.settings)

    def step(self, crash_after: int | None = None) -> Plan:
        """One plan, as `Actor.act` does it; `crash_after` writes the operator dies."""
        plan = self.plan()
        writes: list[tuple[str, Any]] = [("apply", obj) for obj in plan.apply] + [("delete", ref) for ref in plan.delete]
        if plan.status is not None and plan.status_first:
            writes.insert(0, ("status", plan.status))
        writes = [("apply", record) for record in plan.records] + writes
        done = writes if crash_after is None else writes[:crash_after]
        before = copy.deepcopy(self.objects)
        for verb, what in done:
            getattr(self, f"_{verb}")(what)
        left = self.objects != before and not plan.delete  # the next plan, which knows the children, tells it all
        if crash_after is None and plan.status is not None and (plan.status_first or not left):
            self._status(plan.status)
            self.transcript += [f"  event {e.type} {e.reason}: {e.message}" for e in plan.events]
        return plan

    def settle(self, limit: int = 12) -> None:
        """Reconcile until nothing changes any more."""
        for _ in range(limit):
            before = (copy.deepcopy(self.objects), copy.deepcopy(self.model.get("status")))
            self.step()
            if before == (self.objects, self.model.get("status")):
                return
        raise AssertionError(f"no rest after {limit} reconciles:\n" + "\n".join(self.transcript[-20:]))

    def _status(self, status: Object) -> None:
        if status != self.model.get("status"):
            self.model["status"] = copy.deepcopy(status)

    def _apply(self, obj: Object) -> None:
        key = (obj["kind"], obj["metadata"]["name"])
        live = self.objects.get(key)
        merged = copy.deepcopy(obj)
        if live is None:
            merged["metadata"] |= {"uid": f"uid-{next(self._uids)}", "generation": 1}
            self.transcript.append(f"  create {key[0]} {key[1]}{_detail(obj)}")
        else:
            if obj["kind"] == "Deployment" and "replicas" not in obj["spec"]:  # an autoscaler's
                merged["spec"]["replicas"] = live["spec"]["replicas"]
            assert obj["kind"] != "Job" or live["spec"] == merged["spec"], "the API server lets nobody change a Job"
            if live["spec"] == merged["spec"]:
                live["metadata"]["labels"] = merged["metadata"].get("labels")
                return
            merged["metadata"] |= {"uid": live["metadata"]["uid"], "generation": live["metadata"]["generation"] + 1}
            if "status" in live:
                merged["status"] = live["status"]
            self.transcript.append(f"  update {key[0]} {key[1]}{_detail(obj)}")
        self.objects[key] = merged

    def _delete(self, ref: Any) -> None:
        obj = self.objects.get((ref.kind, ref.name))
        if obj and obj["metadata"]["uid"] == ref.uid:
            self.remove(obj)
            self.transcript.append(f"  delete {ref.kind} {ref.name}")

    def remove(self, obj: Object) -> None:
        """Garbage collection: the object and what it controls."""
        uid = obj["metadata"]["uid"]
        self.objects.pop((obj["kind"], obj["metadata"]["name"]), None)
        for child in [o for o in self.objects.values() if o["metadata"].get("ownerReferences", [{}])[0].get("uid") == uid]:
            self.remove(child)

    # -- what the cluster does ---------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        self.transcript.append(f"{(self.now - START).total_seconds():>6.0f}s {line}")

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def annotate(self, **annotations: str) -> None:
        """A person sets annotations of our group."""
        known = self.model["metadata"].setdefault("annotations", {})
        known |= {f"stationkeeper.dev/{name}": value for name, value in annotations.items()}
        self.say("a person sets " + ", ".join(f"{name}={value[:19]}" for name, value in annotations.items()))

    def answered(self, number: int, requests: int, errors: int = 0, seconds: float = 0.005, late: float = 0.1) -> None:
        """Pods of a revision have answered requests since the step began; a share `late` of the rows is of class 1."""
        latency = ((seconds, requests), (float("inf"), requests))
        ones = round(late * requests)
        self.measured[number] = Measured(requests, errors, latency, {"0": requests - ones, "1": ones})

    def asked(self, name: str, value: float | None, problem: str = "") -> None:
        """From now on Prometheus gives this number to a query, or none."""
        self.answers[name] = Answer(value, problem)

    def edit(self, line: str) -> None:
        """A person changed the spec."""
        self.model["metadata"]["generation"] += 1
        self.say(line)

    def ready(self, number: int, pods: int | None = None) -> None:
        """The Deployment of a revision gets its pods ready."""
        for obj in self.objects.values():
            if obj["kind"] == "Deployment" and obj["metadata"]["labels"]["stationkeeper.dev/revision"] == str(number):
                count = obj["spec"]["replicas"] if pods is None else pods
                obj["status"] = {
                    "observedGeneration": obj["metadata"]["generation"],
                    "replicas": obj["spec"]["replicas"],
                    "updatedReplicas": count,
                    "readyReplicas": count,
                }
        self.say(f"revision {number} has its pods ready")

    def gateway(self) -> None:
        """The Gateway's controller looks at the route: it takes it over, or says why not."""
        route = next((o for o in self.objects.values() if o["kind"] == "HTTPRoute"), None)
        if route is None:
            return
        generation, taken = route["metadata"]["generation"], not self.refusal
        known = (route.get("status") or {}).get("parents") or []
        condition = {"type": "Accepted", "status": str(taken), "reason": self.refusal or "Accepted", "message": self.refusal}
        parent = {
            "parentRef": route["spec"]["parentRefs"][0],
            "controllerName": "example.com/gateway",
            "conditions": [{**condition, "observedGeneration": generation}],
        }
        if known != [parent]:
            route["status"] = {"parents": [parent]}
            self.say(f"the Gateway refuses the route: {self.refusal}" if self.refusal else "the Gateway takes the route over")

    def compare(self, verdict: str, rows: int = 2000, message: str = "", exit_code: int = 0, **fields: Any) -> None:
        """The newest comparison of a shadow ends with this verdict; with an exit code it fails."""
        jobs = [o for o in self.objects.values() if o["kind"] == "Job" and "-shadow-" in o["metadata"]["name"]]
        job = max(jobs, key=lambda job: int(job["metadata"]["uid"].removeprefix("uid-")))
        config = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
        summary: Summary = ShadowSummary(
            stable_digest=config["stable"]["digest"],
            candidate_digest=config["candidate"]["digest"],
            since=config["since"],
            attempt=config["attempt"],
            verdict=Verdict.ERROR if exit_code else Verdict(verdict),
            rows=rows,
            requests=rows,
            errors=0,
            message=message or f"{rows} rows: {verdict}",
            report=f"shadow/{config['attempt']}.json",
        ).model_copy(update=fields)
        if exit_code:
            summary = FailureSummary(reason=verdict, message=message)
        self.pod(job, "shadow", summary.encode().decode(), exit_code)
        job["status"] = {"conditions": [{"type": "Failed" if exit_code else "Complete", "status": "True", "reason": "Ended"}]}
        self.say(f"the comparison ends: {verdict}")

    def training_job(self) -> Object:
        """The newest training Job."""
        jobs = [o for o in self.objects.values() if o["kind"] == "Job" and "-train-" in o["metadata"]["name"]]
        return max(jobs, key=lambda job: int(job["metadata"]["uid"].removeprefix("uid-")))

    def finish_training(
        self, outcome: TrainingOutcome, reason: str, message: str = "", exit_code: int = 0, **fields: Any
    ) -> None:
        """The pod of the training Job ends with this summary."""
        job = self.training_job()
        episode = self.model["status"]["episode"]
        if outcome == TrainingOutcome.REFUSED:
            fields = {"data_digest": digest("data"), "metrics": {"roc_auc": 0.6}, **fields}
        summary = TrainingSummary(
            episode=episode["id"],
            attempt=episode["attempt"],
            outcome=outcome,
            reason=reason,
            message=message or reason,
            finished_at=self.now,
            **fields,
        )
        self.pod(job, "evaluate-and-publish", summary.encode().decode(), exit_code)
        condition = {"type": "Failed" if exit_code else "Complete", "status": "True", "reason": "PodFailurePolicy"}
        job["status"] = {"conditions": [condition]}
        self.say(f"training ends: {outcome} ({reason})")

    def hand_over(self) -> None:
        """The training Job's first container has put the rows where a workload finds them."""
        episode = self.model["status"]["episode"]
        summary = HandoverSummary(episode=episode["id"], attempt=episode["attempt"], rows=1000)
        self.pod(self.training_job(), "prepare", summary.encode().decode())
        self.say("the rows are handed over")

    def publish(self, text: str, data: str = "data", through: datetime | None = None, **told: Any) -> str:
        """The training publishes a revision with the digest of this text; `data` names its rows, `through` is the time of the newest."""
        revision = self.model["status"]["episode"]["revision"]
        champion = self.model["status"].get("serving") or {}
        self.finish_training(
            TrainingOutcome.PUBLISHED,
            "GatesPassed",
            "all gates passed",
            digest=digest(text),
            manifest_uri=f"s3://models/flights/manifests/{digest(text)[7:]}.json",
            revision=revision,
            data_digest=digest(data),
            data_through=through,
            metrics={"roc_auc": 0.7},
            **{"champion_digest": champion.get("digest"), "champion_number": champion.get("number"), **told},
        )
        return digest(text)

    def pod(self, owner: Object, container: str, message: str, exit_code: int = 0, restarts: int = 0, **labels: str) -> None:
        """A pod of a Job or Deployment whose container ended with this message."""
        number = next(self._uids)
        state = {"terminated": {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed", "message": message}}
        self.objects[("Pod", f"pod-{number}")] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"pod-{number}",
                "namespace": "ops",
                "uid": f"uid-{number}",
                "labels": labels,
                "ownerReferences": [{"uid": owner["metadata"]["uid"], "controller": True}],
                "creationTimestamp": self.now.isoformat(),
            },
            "status": {"containerStatuses": [{"name": container, "state": state, "restartCount": restarts}]},
        }

    def look(self, file: str | None, message: str = "") -> None:
        """A look at the source finds a file with the digest of this text; None: no file."""
        source = self.model["spec"]["source"]
        cronjob = next(o for o in self.objects.values() if o["kind"] == "CronJob" and _component(o) == "source-look")
        found = SourceSummary(uri=source["uri"], digest=digest(file) if file else None, seen_at=self.now, message=message)
        self.pod(self._job_of(cronjob), "look-at-source", found.encode().decode())
        self.say(f"a look at the source finds {f'the file {file}' if file else message}")

    def _job_of(self, cronjob: Object) -> Object:
        """A finished Job of a CronJob."""
        number = next(self._uids)
        job: Object = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": f"run-{number}",
                "namespace": "ops",
                "uid": f"uid-{number}",
                "ownerReferences": [{"uid": cronjob["metadata"]["uid"], "controller": True}],
            },
            "spec": {},
        }
        self.objects[("Job", f"run-{number}")] = job
        return job

    def crash_pod(self, number: int, failure: FailureSummary, exit_code: int, restarts: int = 0) -> None:
        """A serving pod of this revision ended with a failure."""
        deployment = next(
            o
            for o in self.objects.values()
            if o["kind"] == "Deployment" and o["metadata"]["labels"]["stationkeeper.dev/revision"] == str(number)
        )
        self.pod(
            deployment, "serve", failure.encode().decode(), exit_code, restarts, **{"stationkeeper.dev/revision": str(number)}
        )
        self.say(f"a pod of revision {number} ends: {failure.reason}")

    def check(
        self,
        *windows: tuple[str, str, str],
        quality: tuple[str, ...] = (),
        worse: tuple[bool | None, ...] = (),
        calibrating: str = "",
    ) -> None:
        """One drift check reports windows of (data, features, predictions), one a minute up to now, and labelled ones.

        `worse`: of each labelled window, whether revision 1 was surely better on it; None where it was not asked.
        `calibrating`: why what breached in these windows is observed only.
        """
        cronjob = next(o for o in self.objects.values() if o["kind"] == "CronJob" and _component(o) == "drift-check")
        status = self.model["status"]
        end = self.now.replace(second=0, microsecond=0)
        reported = []
        for index, (data, features, predictions) in enumerate(windows):
            start = end - timedelta(minutes=len(windows) - index)
            reported.append(
                WindowVerdict(
                    start=start,
                    end=start + timedelta(minutes=1),
                    data=Verdict(data),
                    features=Verdict(features),
                    predictions=Verdict(predictions),
                    rows=1000,
                    calibrating=[
                        g for g, v in (("features", features), ("predictions", predictions)) if calibrating and v == "Breached"
                    ],
                    message=f"data {data}, features {features}",
                )
            )
        labelled = [
            QualityVerdict(
                start=end - timedelta(minutes=len(quality) - index),
                end=end - timedelta(minutes=len(quality) - index - 1),
                verdict=Verdict(verdict),
                labels=500,
                score=0.75,
                skill=0.25,
                predecessor=1 if index < len(worse) and worse[index] is not None else None,
                worse=worse[index] if index < len(worse) else None,
                message=f"roc_auc {verdict}",
            )
            for index, verdict in enumerate(quality)
        ]
        summary = CheckSummary(
            policy_uid="policy-uid",
            policy_digest=status["checks"][0]["policyDigest"],
            revision_digest=status["serving"]["digest"],
            windows=reported,
            quality=labelled,
            calibrating=calibrating,
            report="s3://models/flights/checks/newest.json",
            page="s3://models/flights/checks/newest.html",
        )
        job = self._job_of(cronjob)
        self.pod(job, "check-drift", summary.encode().decode())
        told = ["/".join(window) for window in windows] + [f"quality {verdict}" for verdict in quality]
        self.say("drift check reports " + ", ".join(told))

    # -- what tests ask ----------------------------------------------------------------------------------------------

    def condition(self, type_: str) -> Object:
        conditions: list[Object] = self.model["status"]["conditions"]
        return next(c for c in conditions if c["type"] == type_)

    def sweep_jobs(self) -> list[Object]:
        """The Jobs that sweep storage, in the order of their making."""
        found = [o for (kind, name), o in self.objects.items() if kind == "Job" and "-sweep-" in name]
        return sorted(found, key=lambda job: int(job["metadata"]["uid"].removeprefix("uid-")))

    def end_sweep(self, said: Summary, exit_code: int = 0) -> None:
        """The newest of them ends."""
        job = self.sweep_jobs()[-1]
        self.pod(job, "sweep", said.encode().decode(), exit_code)
        job["status"] = {"conditions": [{"type": "Failed" if exit_code else "Complete", "status": "True"}]}

    def record_jobs(self) -> list[Object]:
        """The Jobs that write decisions down, in the order of their making."""
        found = [o for (kind, name), o in self.objects.items() if kind == "Job" and "-record-" in name]
        return sorted(found, key=lambda job: int(job["metadata"]["uid"].removeprefix("uid-")))

    def end_record(self, job: Object, failure: FailureSummary | None = None) -> None:
        """Such a Job ends."""
        if failure:
            self.pod(job, "record", failure.encode().decode(), exit_code=3)
        condition = {"type": "Failed" if failure else "Complete", "status": "True", "reason": "PodFailurePolicy"}
        job["status"] = {"conditions": [condition]}

    def pods_message(self, container: str) -> str:
        """What the newest pod with this container said when it ended."""
        pods = [o for (kind, _), o in self.objects.items() if kind == "Pod"]
        found = [s for pod in pods for s in pod["status"].get("containerStatuses") or [] if s["name"] == container]
        return str(found[-1]["state"]["terminated"]["message"])

    def serve_first(self, through: datetime | None = None) -> None:
        """Up to revision 1 serving, whose newest row is of `through`."""
        self.settle()
        self.advance(seconds=60)
        self.publish("first", through=through)
        self.settle()
        self.advance(seconds=10)
        self.ready(1)
        self.settle()
        self.advance(seconds=60)
        self.settle()


def _component(obj: Object) -> str:
    return str(obj["metadata"]["labels"].get("stationkeeper.dev/component"))


def _detail(obj: Object) -> str:
    spec = obj.get("spec", {})
    if obj["kind"] == "Deployment":
        return f" replicas={spec.get('replicas', 'autoscaled')}"
    if obj["kind"] == "HTTPRoute":
        shares = [f"{ref['weight']} % to {ref['name']}" for ref in spec["rules"][0]["backendRefs"]]
        return f" -> {', '.join(shares)}"
    if obj["kind"] == "Service":
        stable = obj["metadata"]["labels"]["stationkeeper.dev/revision"]
        return f" -> revision {spec['selector'].get('stationkeeper.dev/revision', f'{stable} and the canary')}"
    return ""
