"""Dead letters for an operator's replays, and a substitute for the Job controller."""

import asyncio
import json
import os
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailtopic_client import KafkaClient, KafkaSettings
from mailtopic_contract import ErrorInfo, MailHeaders, RecordOrigin, new_record
from support.conditions import until
from support.operators import Operators

Json = dict[str, Any]

_MINUTE_MS = 60_000
_REPORT = "/dev/termination-log"


def mail_replay(name: str, namespace: str, topic: str, **spec: Any) -> Json:
    """A MailReplay of a MailTopic."""
    return {
        "apiVersion": "mailtopic.dev/v1alpha1",
        "kind": "MailReplay",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"mailTopicRef": {"name": topic}, **spec},
    }


async def bury(servers: str, topic: str, *classes: str) -> None:
    """Put a valid mail for each of these error classes into the DLQ, as a sender does."""
    broker = KafkaClient(KafkaSettings(bootstrap_servers=tuple(servers.split(","))))
    now_ms = time.time_ns() // 1_000_000
    try:
        await broker.connect()
        for number, error_class in enumerate(classes):
            mail = new_record(
                email=f"someone{number}@example.test",
                variables={"code": "271828"},
                purpose="signup",
                locale="en",
                accepted_at_ms=now_ms,
                expires_at_ms=now_ms + 10 * _MINUTE_MS,
                keyring=None,
            )
            headers = MailHeaders(
                mail_id=mail.id,
                origin=RecordOrigin(topic, 0, number, now_ms),
                error=ErrorInfo(error_class, "Reply", "refused", "550 5.7.1"),
            )
            await broker.publish(
                f"{topic}.dlq",
                key=mail.address.partition_key,
                value=mail.encode(),
                headers=headers.encode(),
                partition=0,
            )
    finally:
        await broker.close()


@dataclass(frozen=True)
class Replays:
    """MailReplays of an operator's namespace; runs their Jobs as controllers and kubelet would.

    Args:
        directory: holds the reports.
    """

    operators: Operators
    directory: Path

    def create(self, name: str, topic: str, **spec: Any) -> None:
        item = mail_replay(name, self.operators.namespace, topic, **spec)
        self.operators.server.apply(item)

    def status(self, name: str) -> Json:
        status: Json = self.operators.get(f"mailreplays.mailtopic.dev/{name}").get("status", {})
        return status

    def condition(self, name: str, kind: str = "Complete") -> tuple[str, str]:
        """Return a condition's status and reason; empty if there is none."""
        found = [c for c in self.status(name).get("conditions", ()) if c["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def message(self, name: str) -> str:
        found = [c for c in self.status(name).get("conditions", ()) if c["type"] == "Complete"]
        return str(found[0]["message"]) if found else ""

    async def becomes(self, name: str, status: str, reason: str, *, timeout_s: float = 30) -> None:
        """Return when a replay's Complete has this status and reason."""
        await until(
            lambda: self.condition(name) == (status, reason),
            f"MailReplay {name} is {status}, {reason}",
            timeout_s=timeout_s,
        )

    def job(self, name: str) -> Json | None:
        """Return the Job of a replay; None if there is none."""
        what = ("get", f"job/{name}-replay", "--ignore-not-found", "--output=json")
        text = self.operators.kubectl(*what)
        return json.loads(text) if text else None

    async def started(self, name: str) -> Json:
        """Return the Job of a replay when there is one."""
        await until(lambda: self.job(name) is not None, f"MailReplay {name} has a Job")
        job = self.job(name)
        assert job is not None
        return job

    def events(self, name: str) -> list[str]:
        """Return the reasons of the events about a replay."""
        found = self.operators.get("events.events.k8s.io")["items"]
        return sorted(each["reason"] for each in found if each["regarding"]["name"] == name)

    async def run(self, name: str) -> None:
        """Run the command of a replay's Job, and report the result as a cluster does."""
        job = await self.started(name)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        report = self.directory / f"{name}.json"
        arguments = [str(report) if each == _REPORT else each for each in container["args"]]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert container["command"][0] == "mailtopic"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailtopic_cli", *container["command"][1:], *arguments),
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        said = report.read_text() if report.exists() else out.decode()
        self.end_pod(job, code=process.returncode or 0, message=said)
        self.end_job(job, is_good=process.returncode == 0)

    def tell(self, job: Json, **status: Any) -> None:
        """Write the Job's status, as the Job controller does."""
        meta = job["metadata"]
        # Once it has begun, the API server takes no other time for it.
        self._patch_status(
            f"job/{meta['name']}", {"startTime": meta["creationTimestamp"], **status}
        )

    def end_job(self, job: Json, *, is_good: bool) -> None:
        now = _now()
        kinds = ("SuccessCriteriaMet", "Complete") if is_good else ("FailureTarget", "Failed")
        conditions = [
            {"type": kind, "status": "True", "reason": "Test", "lastTransitionTime": now}
            for kind in kinds
        ]
        ended: Json = {"succeeded": 1, "completionTime": now} if is_good else {"failed": 1}
        self.tell(job, active=0, ready=0, conditions=conditions, **ended)

    def end_pod(self, job: Json, *, code: int, message: str) -> None:
        """Make a pod of the Job that has ended."""
        template, now = job["spec"]["template"], _now()
        name = f"{job['metadata']['name']}-{uuid.uuid4().hex[:5]}"
        labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.operators.namespace,
                "labels": {**template["metadata"]["labels"], **labels},
            },
            "spec": template["spec"],
        }
        self.operators.server.apply(pod)
        terminated = {"exitCode": code, "startedAt": now, "finishedAt": now, "message": message}
        container = {
            "name": "replay",
            "image": "x",
            "imageID": "x",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": terminated},
        }
        phase = "Failed" if code else "Succeeded"
        self._patch_status(f"pod/{name}", {"phase": phase, "containerStatuses": [container]})

    def _patch_status(self, what: str, status: Json) -> None:
        patch = json.dumps({"status": status})
        self.operators.kubectl("patch", what, "--subresource=status", "--type=merge", "-p", patch)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
