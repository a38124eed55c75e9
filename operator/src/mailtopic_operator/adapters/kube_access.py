"""Access to the API server: one configuration for our requests and for kopf's watches."""

import os
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import kopf
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from mailtopic_operator.adapters.watch_freshness import WatchFreshness
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_runtime import SettingError

KUBECONFIG = "KUBECONFIG"
_CONNECTIONS = 16


class KubeAccess:
    """Logs in to the API server: in a pod by its service account, elsewhere by KUBECONFIG.

    Args:
        metrics: counts every request, including kopf's.
        freshness: tracks every watch that is opened.
    """

    def __init__(
        self, configuration: Configuration, metrics: OperatorMetrics, freshness: WatchFreshness
    ) -> None:
        self._configuration = configuration
        self._metrics = metrics
        self._freshness = freshness
        configuration.connection_pool_maxsize = _CONNECTIONS
        configuration.trace_configs = [self._trace()]
        self.client = ApiClient(configuration)
        self.client.user_agent = "mailtopic-operator"

    @classmethod
    async def load(cls, metrics: OperatorMetrics, freshness: WatchFreshness) -> "KubeAccess":
        """Load the API server's address and login.

        Raises:
            SettingError: there is no service account and no usable kubeconfig.
        """
        configuration = Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and KUBECONFIG not in os.environ:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            path = os.environ.get(KUBECONFIG, str(Path("~/.kube/config")))
            problem = f"{path} can't be used: {_one_line(error)}"
            raise SettingError(KUBECONFIG, problem) from None
        return cls(configuration, metrics, freshness)

    async def login(self, **_: object) -> kopf.AiohttpSession:
        """Return a session for kopf; called again when the API server refuses the old token."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.client.rest_client.ssl_context),
            headers={"Authorization": token} if token else {},
            trace_configs=[self._trace()],
            # One event can be as large as an object; aiohttp's default is 64 KiB.
            read_bufsize=2**21,
        )
        return kopf.AiohttpSession(aiohttp_session=session, server=self._configuration.host)

    async def close(self) -> None:
        """Close our own connections; kopf closes its own."""
        await self.client.close()

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()

        async def on_end(
            _session: aiohttp.ClientSession,
            _context: SimpleNamespace,
            params: aiohttp.TraceRequestEndParams,
        ) -> None:
            verb = params.method.lower()
            if params.url.query.get("watch") == "true":
                verb = "watch"
                self._freshness.opened(params.url.path, params.response)
            self._metrics.count_api_request(verb, params.response.status)

        async def on_exception(
            _session: aiohttp.ClientSession,
            _context: SimpleNamespace,
            params: aiohttp.TraceRequestExceptionParams,
        ) -> None:
            self._metrics.count_api_request(params.method.lower(), None)

        trace.on_request_end.append(on_end)
        trace.on_request_exception.append(on_exception)
        return trace


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())[:200]
