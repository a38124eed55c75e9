"""`make kind`, after the cluster and the images: one command, until Ctrl-C."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from localcluster.client import ClusterClient
from localcluster.fixtures import environment_for
from mailtopic_cli.cluster.trial.ports import Ports
from support.kube_crds import crds_as_before
from support.kube_release import RESTRICTED, Release
from support.ports import free_port_run

_INSTALL_TIMEOUT_S = 240


@pytest.mark.timeout(360, func_only=True)
@pytest.mark.usefixtures("images")
def test_a_trial_opens_ports_that_outlive_a_pod_and_end_with_ctrl_c(
    cluster: ClusterClient, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    ports = Ports.choose(free_port_run(2))
    signup, inbox = (f"http://127.0.0.1:{port}" for port in (ports.signup, ports.inbox))
    log = tmp_path / "log"
    with crds_as_before(cluster), cluster.namespace("trial", **RESTRICTED) as namespace:
        began_s = time.monotonic()
        with _trial(cluster, namespace, ports, log) as process:
            _until_said(cluster, log, f"Read mail  {inbox}/", timeout_s=_INSTALL_TIMEOUT_S)
            figure(f"installed and open after {time.monotonic() - began_s:.1f} s")
            assert f'content="{inbox}/"' in httpx.get(f"{signup}/").text
            assert httpx.get(f"{inbox}/api/v1/messages").json()["messages"] == []

            release = Release(cluster, namespace)
            (pod,) = release.pod_names("inbox")
            cluster.kubectl("delete", "pod", pod, "--namespace", namespace, "--wait=false")
            _until_said(cluster, log, "the inbox is there again", timeout_s=90)
            assert httpx.get(f"{inbox}/api/v1/messages").status_code == 200

            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        assert "MailTopic still runs" in log.read_text()
        ports.check()
        assert release.pod_names("signup"), "what is installed stays"


@contextmanager
def _trial(
    cluster: ClusterClient, namespace: str, ports: Ports, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        **environment_for(cluster.settings),
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        *(sys.executable, "-m", "localcluster", "install"),
        *(f"--namespace={namespace}", f"--port-base={ports.signup}"),
    ]
    with (
        log.open("w") as file,
        subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _until_said(cluster: ClusterClient, log: Path, text: str, *, timeout_s: float) -> None:
    cluster.until(lambda: text in log.read_text(), f"the trial says {text!r}", timeout_s=timeout_s)
