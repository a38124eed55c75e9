"""MailTopics of a release on a real cluster: the operator, its MailTopics, and their topics."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from localcluster.client import ClusterClient
from support.kube_release import REPOSITORY, Release

SAMPLE = REPOSITORY / "k8s" / "samples" / "mailtopic-inbox.yaml"
CRDS = REPOSITORY / "charts" / "mailtopic-crds"
_TOPIC_PROGRAM = REPOSITORY / "tests" / "cluster" / "programs" / "topic_config.py"
_READY_TIMEOUT_S = 90


@dataclass(frozen=True)
class MailTopics:
    """MailTopics beside a release of the umbrella chart, in the same namespace."""

    release: Release

    @property
    def cluster(self) -> ClusterClient:
        return self.release.cluster

    def kubectl(self, *arguments: str, text: str | None = None, timeout_s: float = 120) -> str:
        """Run kubectl in the release's namespace."""
        where = ("--namespace", self.release.namespace)
        return self.cluster.kubectl(*arguments, *where, text=text, timeout_s=timeout_s)

    def apply_sample(self) -> None:
        """Apply the sample, as its reader would."""
        self.kubectl("apply", f"--filename={SAMPLE}")

    def apply(self, name: str, **spec: Any) -> None:
        """Apply the sample under another name, with other fields in its spec."""
        manifest = yaml.safe_load(SAMPLE.read_text("utf-8"))
        manifest["metadata"]["name"] = name
        manifest["spec"] |= spec
        self.kubectl("apply", "--filename=-", text=json.dumps(manifest))

    def wait_until_ready(self, name: str) -> None:
        """Wait as a script would."""
        wait = ("wait", "--for=condition=Ready", f"mailtopic/{name}")
        self.kubectl(*wait, f"--timeout={_READY_TIMEOUT_S}s")

    def get(self, what: str) -> dict[str, Any]:
        return self.cluster.get(what, namespace=self.release.namespace)

    def exists(self, what: str) -> bool:
        return bool(self.kubectl("get", what, "--ignore-not-found", "--output=name"))

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        """Return a condition's status, reason and message."""
        conditions = self.get(f"mailtopic/{name}").get("status", {}).get("conditions", [])
        found = [each for each in conditions if each["type"] == kind]
        return (
            tuple(found[0][key] for key in ("status", "reason", "message")) if found else ("",) * 3
        )

    def senders(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a MailTopic's senders, those that are ending among them."""
        label = f"mailtopic.dev/mailtopic={name}"
        items: list[dict[str, Any]] = json.loads(
            self.kubectl("get", "pods", f"--selector={label}", "--output=json")
        )["items"]
        return items

    def topics(self, *arguments: str) -> str:
        """Run the topics' program where Kafka's admin client is: in the operator's pod."""
        (pod,) = self.release.pod_names("operator")
        program = _TOPIC_PROGRAM.read_text("utf-8")
        command = ("/app/.venv/bin/python", "-c", program, *arguments)
        return self.cluster.execute(pod, *command, namespace=self.release.namespace).strip()


def seconds_until(
    cluster: ClusterClient, condition: Callable[[], object], what: str, *, timeout_s: float = 60
) -> float:
    """Return after how many seconds a condition held."""
    began_s = time.monotonic()
    cluster.until(condition, what, timeout_s=timeout_s)
    return time.monotonic() - began_s
