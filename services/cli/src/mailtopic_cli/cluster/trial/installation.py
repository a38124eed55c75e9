"""Install the charts for a trial, and report progress."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.cluster.clients import Clients
from mailtopic_cli.cluster.errors import ClientError, ClusterError
from mailtopic_cli.cluster.programs import Report
from mailtopic_cli.cluster.settings import REPOSITORY, Settings

from .pods import Pod, problems, summary
from .ports import HOST, Ports

CHARTS = REPOSITORY / "charts"
SAMPLE = REPOSITORY / "k8s" / "samples" / "mailtopic-inbox.yaml"
RELEASE = "mailtopic"
_CRDS = "mailtopic-crds"
_INSTANCE = "app.kubernetes.io/instance"
_LOOK_EVERY_S = 1
# Values for a cluster with images from `make images`; a given one pulls them.
_LOADED = "local-values.yaml"


@dataclass(frozen=True)
class Installation:
    """A release of charts/mailtopic in a cluster.

    Attributes:
        values: the user's own files, which override those for the cluster.
        wait_s: how long it may take until everything is ready.
    """

    clients: Clients
    namespace: str
    ports: Ports
    say: Report
    values: tuple[Path, ...] = ()
    wait_s: int = 300

    @classmethod
    def find_clients(cls, settings: Settings) -> Clients:
        """Return the clients of the cluster that `make cluster` brought up.

        Raises:
            ClusterError: there is none.
        """
        needed = (settings.mode_file, settings.kubeconfig, settings.bin / "helm")
        if not all(path.exists() for path in needed):
            raise ClusterError("there is no cluster: `make cluster` brings one up")
        clients = Clients(settings)
        try:
            clients.kubectl("get", "--raw", "/readyz")
        except ClientError:
            raise ClusterError("the cluster does not answer: `make cluster` brings it up") from None
        return clients

    def install(self) -> None:
        """Install what is missing, upgrade what is there, and wait until all of it is ready.

        Raises:
            ClusterError: it doesn't work, or not in time; what is installed stays.
        """
        try:
            self._install_crds()
            self._install_release()
            self._apply_sample()
        except ClientError as error:
            raise ClusterError("\n  ".join([str(error), *self._state()])) from None

    def _install_crds(self) -> None:
        if (CHARTS / _CRDS / "Chart.yaml").is_file():
            self.say("installing the CRDs")
            # CRDs are cluster-wide: an earlier install, or kustomize, may have created them.
            self._helm(_CRDS, CHARTS / _CRDS, "--take-ownership")

    def _install_release(self) -> None:
        self.say(f"installing charts/mailtopic into the namespace {self.namespace}")
        with ThreadPoolExecutor(max_workers=1) as worker:
            installing = worker.submit(self._helm, RELEASE, CHARTS / RELEASE, *self._arguments())
            self._watch(installing)
        installing.result()

    def _apply_sample(self) -> None:
        """Apply a sample MailTopic, if the charts install an operator."""
        found = self.clients.get("deployments", namespace=self.namespace)["items"]
        if f"{RELEASE}-operator" not in {each["metadata"]["name"] for each in found}:
            return
        self.say(f"applying the MailTopic in {SAMPLE.relative_to(REPOSITORY)}")
        self.clients.kubectl("apply", "--namespace", self.namespace, f"--filename={SAMPLE}")
        self.clients.kubectl(
            *("wait", f"--filename={SAMPLE}", "--for=condition=Ready"),
            *("--namespace", self.namespace, f"--timeout={self.wait_s}s"),
            timeout_s=self.wait_s + 60,
        )

    def _arguments(self) -> Iterator[str]:
        mode = self.clients.settings.mode_file.read_text().strip()
        files = [] if mode == "given" else [CHARTS / RELEASE / "ci" / _LOADED]
        yield from (f"--values={file}" for file in [*files, *self.values])
        yield "--set=operator.enabled=true"
        # The two pages link to each other by their ports on this machine.
        yield f"--set=signup.pages.inboxUrl=http://{HOST}:{self.ports.inbox}/"
        yield f"--set=inbox.signupUrl=http://{HOST}:{self.ports.signup}/"

    def _helm(self, release: str, chart: Path, *arguments: str) -> None:
        self.clients.helm(
            *("upgrade", "--install", release, str(chart), "--namespace", self.namespace),
            *("--create-namespace", "--wait", f"--timeout={self.wait_s}s", *arguments),
            timeout_s=self.wait_s + 60,
        )

    def _watch(self, installing: "Future[None]") -> None:
        """Report changes while Helm waits."""
        before: list[str] = []
        while not wait_for([installing], timeout=_LOOK_EVERY_S).done:
            now = self._state()
            for line in now:
                if line not in before:
                    self.say(f"  {line}")
            before = now

    def _pods(self) -> list[Pod]:
        try:
            found = self.clients.get("pods", namespace=self.namespace)["items"]
        except ClientError:
            return []  # the API is busy; Helm reports it if that lasts
        return [pod for pod in found if pod["metadata"].get("labels", {}).get(_INSTANCE) == RELEASE]

    def _state(self) -> list[str]:
        pods = self._pods()
        return [summary(pods), *problems(pods)] if pods else []
