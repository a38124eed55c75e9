"""Probes and metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response

from mailtopic_runtime import Clock
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.ports import Backlog, DatabaseUnavailable
from mailtopic_signup.schemas import Health

router = APIRouter(tags=["system"])


@dataclass(frozen=True, slots=True)
class System:
    """What probes and metrics inspect."""

    ping: Callable[[], Awaitable[None]]
    backlog: Callable[[], Awaitable[Backlog]]
    kafka_problem: Callable[[], str | None]
    clock: Clock
    registry: CollectorRegistry
    metrics: SignupMetrics


@router.get("/livez", response_model=Health, summary="Whether the process works")
async def livez() -> Response:
    """Answer; a process that can't is to be restarted."""
    return _health(200, "ok", "not asked", "not asked")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"description": "The database does not answer", "model": Health}},
    summary="Whether signups are taken",
)
async def readyz(request: Request) -> Response:
    """Ask the database. Kafka's absence is told, but doesn't make the service unready."""
    system: System = request.app.state.system
    problem = system.kafka_problem()
    kafka = problem or "ok"
    try:
        await system.ping()
    except DatabaseUnavailable as error:
        return _health(503, "unavailable", str(error), kafka)
    return _health(200, "degraded" if problem else "ok", "ok", kafka)


@router.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Show the metrics; the outbox is counted now."""
    system: System = request.app.state.system
    try:
        backlog = await system.backlog()
    except DatabaseUnavailable:
        # An unknown count is left as it was; the other metrics are still useful.
        pass
    else:
        age_ms = 0 if backlog.oldest_at is None else system.clock.now_ms() - backlog.oldest_at
        system.metrics.outbox_pending.set(backlog.pending)
        system.metrics.outbox_oldest.set(max(0, age_ms) / 1000)
    return Response(generate_latest(system.registry), media_type=CONTENT_TYPE_LATEST)


def _health(status_code: int, status: str, database: str, kafka: str) -> Response:
    body = Health(status=status, database=database, kafka=kafka)
    return Response(body.model_dump_json(), status_code=status_code, media_type="application/json")
