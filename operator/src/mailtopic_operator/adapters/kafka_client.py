"""One Kafka admin client that waits for answers outside the event loop."""

import asyncio
import concurrent.futures
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from mailtopic_operator.adapters.kafka_errors import problem_of
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.metrics import OperatorMetrics

KeyT = TypeVar("KeyT")
AnswerT = TypeVar("AnswerT")
ReducedT = TypeVar("ReducedT")

_THREADS = 4
_GRACE_S = 2.0


class KafkaClient:
    """Makes admin requests and classifies the answers.

    Args:
        config: how to reach Kafka, as librdkafka's properties.
        timeout_s: how long a request may take; after that Kafka counts as unreachable.
        metrics: counts the requests.
    """

    def __init__(
        self, config: Mapping[str, Any], *, timeout_s: float, metrics: OperatorMetrics
    ) -> None:
        self.timeout_s = timeout_s
        self._metrics = metrics
        self._refusal: KafkaProblem | None = None
        # An unreachable broker is reported once, by a condition, not by the client's log.
        quiet: dict[str, Any] = {
            "log_level": 0,
            "error_cb": self._on_error,
            "socket.timeout.ms": 10_000,
        }
        log = logging.getLogger("librdkafka")
        self._client = AdminClient({**config, **quiet}, logger=log)
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "kafka-admin")

    async def ask(
        self,
        operation: str,
        request: Callable[[AdminClient], Mapping[KeyT, "concurrent.futures.Future[AnswerT]"]],
        reduce: Callable[[AnswerT], ReducedT],
    ) -> dict[KeyT, ReducedT | KafkaProblem]:
        """Make one request; return each of its answers reduced, or its problem.

        ``reduce`` runs in a thread, so that large answers are freed at once.
        """
        loop = asyncio.get_running_loop()
        work = functools.partial(self._ask, request, reduce)
        answers = await loop.run_in_executor(self._threads, work)
        problems = [answer for answer in answers.values() if isinstance(answer, KafkaProblem)]
        is_away = any(problem.kind is ProblemKind.UNAVAILABLE for problem in problems)
        result = "unavailable" if is_away else "refused" if problems else "ok"
        self._metrics.admin_requests.labels(operation, result).inc()
        return answers

    async def close(self) -> None:
        """Release the threads; a request in flight ends by its own deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self,
        request: Callable[[AdminClient], Mapping[KeyT, "concurrent.futures.Future[AnswerT]"]],
        reduce: Callable[[AnswerT], ReducedT],
    ) -> dict[KeyT, ReducedT | KafkaProblem]:
        futures = request(self._client)
        answers: dict[KeyT, ReducedT | KafkaProblem] = {}
        for key, future in futures.items():
            try:
                answers[key] = reduce(future.result(self.timeout_s + _GRACE_S))
            except Exception as error:  # noqa: BLE001 - it becomes the answer
                answers[key] = self._explain(problem_of(error))
        self._client.poll(0)
        return answers

    def _explain(self, problem: KafkaProblem) -> KafkaProblem:
        # A refused login looks like a timeout; only the callback reports it.
        if problem.kind is ProblemKind.UNAVAILABLE:
            self._client.poll(0)
            return self._refusal or problem
        self._refusal = None
        return problem

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001 - a documented code
            self._refusal = KafkaProblem(
                ProblemKind.NOT_AUTHORISED, "Kafka refuses the operator's user or password"
            )
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the same
            return
        elif error.code() == KafkaError._SSL:  # noqa: SLF001 - the same
            self._refusal = KafkaProblem(
                ProblemKind.UNAVAILABLE, "TLS with Kafka fails: look at the CA and the listener"
            )
