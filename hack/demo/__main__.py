"""`make demo`: the whole loop on real data, in a real cluster, in under ten minutes once that cluster is up."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from hack.cluster.paths import REPOSITORY, cluster_directory
from hack.cluster.say import ClusterError, say
from hack.demo import flights, install, summary
from hack.demo.install import ARTIFACTS, BUCKET, MODEL, NAMESPACE, SAMPLE
from hack.demo.kube import Kube
from hack.demo.timeline import Timeline, changes, condition

# Twelve thousand flights a minute: a window of a minute is about a fortnight.
PACE = {"ROWS_PER_REQUEST": "10", "REQUESTS_PER_SECOND": "20", "LABEL_DELAY": "5", "LABELS_UNTIL": "2013-06-03"}
NEXT = """
Everything is left running. What to try next:
  export KUBECONFIG={kubeconfig}
  kubectl -n flights get models,driftpolicies,modelrevisions
  kubectl -n flights describe model flight-delays
  stationkeeper -n flights status flight-delays        # the same, for people (in .venv/bin)
  stationkeeper -n flights retrain flight-delays       # ask for a training; the gates decide
  kubectl -n flights edit driftpolicy flight-delays    # loosen it: maxDriftedShare: 0.5, or breach: {{windows: 3, of: 3}}
  kubectl -n flights port-forward service/flight-delays 8080:80 &
  curl -s localhost:8080/v2/models/flight-delays
  make demo-down                                       # removes it all
"""


class Demo:
    """One run."""

    def __init__(self, kube: Kube, timeline: Timeline) -> None:
        self.kube, self.timeline = kube, timeline
        self.model: dict[str, Any] = {}
        self.line: dict[str, Any] = {}

    def install(self) -> None:
        """S3 server, operator, namespace."""
        self.timeline.tell("S3 server: VersityGW in a pod of its own", "do")
        install.s3_server(self.kube)
        self.timeline.tell("operator: installed with its Helm chart", "do")
        install.operator(self.kube)
        self.kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        self.kube.apply(SAMPLE / "namespace.yaml")

    def run(self) -> dict[str, Any]:
        """The loop, from the first training to the second revision."""
        frame = flights.flights()
        with install.store(self.kube) as client:
            install.empty(client, BUCKET, ARTIFACTS)
            rows = install.training_data(client, frame)
            self.timeline.tell(
                f"data: {rows} flights of January to March 2013 with their labels, in s3://{BUCKET}/labelled/", "do"
            )
            replayed = install.replay_rows(client, frame)
            self.kube.apply(SAMPLE / "model.yaml", SAMPLE / "driftpolicy.yaml")
            self.timeline.tell("applied: Model flight-delays and its DriftPolicy", "do")
            self.watch(lambda: self.serving() == 1 and condition(self.model, "Ready").get("status") == "True", 300)
            late = install.april(client, frame)
            self.timeline.tell(
                f"the labels of April arrive ({late} flights); {replayed} flights from May on become live traffic", "do"
            )
            install.replay_pod(self.kube, PACE)
            self.watch(lambda: self.serving() >= 2 and self.seen_by(2) > 0, 600)
            drained = "RolloutProgressing"
            self.watch(lambda: condition(self.model, drained).get("status") == "False", 120)
            client.put_object(Bucket=BUCKET, Key="replay/stop", Body=b"")
            self.watch(lambda: bool(self.line.get("final")), 60)
            return summary.build(client, frame, self.kube.list("modelrevisions", NAMESPACE), self.line)

    def serving(self) -> int:
        """Number of the revision that serves, 0 for none."""
        number: int = ((self.model.get("status") or {}).get("serving") or {}).get("number", 0)
        return number

    def seen_by(self, revision: int) -> int:
        """Requests that this revision answered."""
        count: int = (self.line.get("revisions") or {}).get(str(revision), 0)
        return count

    def watch(self, done: Any, seconds: float) -> None:
        """Tell what happens until `done`.

        Raises:
            ClusterError: when it takes too long, with what the Model says of it.
        """
        deadline = time.monotonic() + seconds
        while True:
            model = self.kube.get("model", MODEL, NAMESPACE)
            for mood, text in changes(self.model, model):
                self.timeline.tell(text, mood)
            self.model = model
            self.line = install.replay_line(self.kube) or self.line
            self.timeline.traffic(self.line)
            if done():
                return
            if time.monotonic() > deadline:
                said = self.kube.kubectl("-n", NAMESPACE, "describe", "model", MODEL, check=False)
                pods = self.kube.kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide", check=False)
                raise ClusterError(f"the demo did not come this far in {seconds:.0f} s.\n{said[-6000:]}\n{pods}\n{self.line}")
            time.sleep(1)


def down(kube: Kube) -> None:
    """Remove what the demo made; the cluster itself stays for `make cluster-down`."""
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    kube.helm("uninstall", "stationkeeper", "--namespace", install.OPERATOR_NAMESPACE, "--ignore-not-found", check=False)
    kube.kubectl("delete", "namespace", install.OPERATOR_NAMESPACE, "storage", "--ignore-not-found", "--wait=true")
    kube.kubectl("delete", "-f", str(REPOSITORY / "crds"), "--ignore-not-found")
    say("the demo is gone; the cluster is still there (make cluster-down)")


def main() -> int:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(prog="python -m hack.demo", description=__doc__)
    parser.add_argument("verb", choices=["up", "down"], nargs="?", default="up")
    parser.add_argument("--name", default="stationkeeper", help="name of the cluster")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "demo" / "summary.json", help="the summary as JSON")
    args = parser.parse_args()
    kubeconfig = cluster_directory(args.name) / "kubeconfig"
    try:
        kube = Kube(kubeconfig)
        if args.verb == "down":
            down(kube)
            return 0
        timeline = Timeline()
        demo = Demo(kube, timeline)
        demo.install()
        result = demo.run()
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    summary.write(result, args.output)
    timeline.console.print()
    summary.show(timeline.console, result)
    timeline.console.print(NEXT.format(kubeconfig=kubeconfig), markup=False)
    better = result["comparison"]["after"] > result["comparison"]["before"]
    whole = better and result["requests"]["failed"] == 0 and len(result["revisions"]) >= 2
    say(f"summary: {args.output}" if whole else "the demo did not show what it should: see the summary above")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
