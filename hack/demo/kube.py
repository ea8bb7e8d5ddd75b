"""kubectl and helm, as a person would call them."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.cluster.say import ClusterError
from hack.cluster.tools import tool


class Kube:
    """Commands against one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self._kubectl, self._helm = str(tool("kubectl")), str(tool("helm"))

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints.

        Raises:
            ClusterError: when it fails and `check` is set.
        """
        return self._run([self._kubectl, *arguments], text, check)

    def helm(self, *arguments: str, check: bool = True) -> str:
        """Run helm and return what it prints."""
        return self._run([self._helm, *arguments], None, check)

    def _run(self, command: Sequence[str], text: str | None, check: bool) -> str:
        done = subprocess.run(
            command, env=self._environment, input=text, capture_output=True, text=True, check=False, timeout=600
        )
        if check and done.returncode:
            raise ClusterError(f"{Path(command[0]).name} {' '.join(command[1:4])} … failed: {done.stderr.strip()[-1500:]}")
        return done.stdout

    def apply(self, *files: Path) -> None:
        """Apply manifests, as kubectl does it server-side."""
        for file in files:
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """One object, or an empty one where there is none."""
        text = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found", check=False)
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("-n", namespace, "get", kind, "-o", "json"))["items"]
        return items

    @contextmanager
    def forwarded(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """A local port that leads to a port of a Service or pod."""
        command = [self._kubectl, "-n", namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"]
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                line = process.stdout.readline()
                if found := re.search(r"127\.0\.0\.1:(\d+) ->", line):
                    yield int(found[1])
                    return
                if process.poll() is not None:
                    break
            raise ClusterError(f"cannot forward a port to {target} in {namespace}")
        finally:
            process.terminate()
            process.communicate()  # reads what is left and closes the pipe
