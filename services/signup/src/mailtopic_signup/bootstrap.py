"""The composition root: makes the parts from the settings, runs them, ends them in order."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI

from mailtopic_client import BrokerClient, KafkaClient
from mailtopic_contract import KeyRing, KeyRingError
from mailtopic_runtime import (
    EXIT_OK,
    NO_TRACER,
    Clock,
    SettingError,
    SystemClock,
    Tracer,
    configure_logging,
    get_logger,
    open_tracer,
    process_registry,
    stop_on_signals,
)
from mailtopic_signup.adapters.sql_challenges import SqlChallenges
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import SqlOutbox
from mailtopic_signup.adapters.status_consumer import StatusConsumer
from mailtopic_signup.app import create_app
from mailtopic_signup.domain.challenge import Limits
from mailtopic_signup.domain.code import PepperError, Peppers
from mailtopic_signup.housekeeping import keep_house
from mailtopic_signup.http_server import HttpServer, listen
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.outbox import MailMaker
from mailtopic_signup.publisher import Publisher
from mailtopic_signup.service import SignupService
from mailtopic_signup.settings import (
    CodesSettings,
    MigrateSettings,
    OutboxSettings,
    SealingSettings,
    SignupSettings,
)
from mailtopic_signup.system_routes import System

_PUBLISH_GRACE_S = 5.0
EXIT_INTERRUPTED = 1
"""The tables may not be up to date yet; a Job tries again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A signup service, put together and not yet running."""

    app: FastAPI
    database: Database
    challenges: SqlChallenges
    outbox: SqlOutbox
    broker: BrokerClient
    publisher: Publisher
    metrics: SignupMetrics


def assemble(
    settings: SignupSettings,
    clock: Clock,
    broker: BrokerClient,
    *,
    broker_problem: Callable[[], str | None] = lambda: None,
    tracer: Tracer = NO_TRACER,
) -> Parts:
    """Make the parts; opens no connection. Must be called inside the event loop.

    Raises:
        SettingError: a file can't be read, or a setting contradicts another.
    """
    database = Database(settings.database)
    challenges, outbox = SqlChallenges(database), SqlOutbox(database)
    registry = process_registry("signup")
    metrics = SignupMetrics(registry)
    publisher = _make_publisher(
        settings.outbox, outbox, broker, clock, metrics=metrics, tracer=tracer
    )
    service = SignupService(
        challenges,
        peppers=_load_peppers(settings),
        mails=MailMaker(settings.topic, load_keyring(settings.sealing)),
        limits=limits_of(settings.codes),
        clock=clock,
        count=metrics.count,
        on_queued=publisher.wake,
    )
    system = System(
        ping=challenges.ping,
        backlog=outbox.backlog,
        kafka_problem=lambda: publisher.problem or broker_problem(),
        clock=clock,
        registry=registry,
        metrics=metrics,
    )
    app = create_app(settings, service, system, tracer)
    return Parts(app, database, challenges, outbox, broker, publisher, metrics)


async def run(settings: SignupSettings) -> int:
    """Run the service until SIGTERM or SIGINT; returns the process's exit code.

    Raises:
        SettingError: a setting can't be used.
    """
    configure_logging(settings.log)
    stopping = stop_on_signals()
    clock = SystemClock()
    kafka = settings.kafka
    broker = KafkaClient(
        kafka,
        client_id="mailtopic-signup",
        # Longer than the producer's own limit: after that it has given the record up itself.
        publish_timeout_s=kafka.request_timeout_s + 5,
    )
    tracer = open_tracer(
        settings.tracing, service="mailtopic-signup", version=version("mailtopic-signup")
    )
    parts = assemble(settings, clock, broker, broker_problem=lambda: broker.problem, tracer=tracer)
    listener = listen(settings.http)
    server = HttpServer(parts.app, settings.http)
    get_logger(__name__).info("signup.started", port=_port_of(listener), topic=settings.topic)
    with listener:
        async with _in_background(settings, parts, clock) as background:
            serving = asyncio.create_task(server.serve([listener]))
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, waiting, background}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            server.stop()
            await serving
    await tracer.close()
    get_logger(__name__).info("signup.stopped")
    return EXIT_OK


async def migrate(settings: MigrateSettings) -> int:
    """Bring the tables up to date, whatever MAILTOPIC_DATABASE__MIGRATE says; needs no Kafka.

    Waits for a database that doesn't answer, until SIGTERM or SIGINT.

    Returns:
        The exit code: 1 if it had to stop before the tables were up to date.

    Raises:
        SettingError: a setting can't be used.
    """
    configure_logging(settings.log)
    log = get_logger(__name__)
    stopping = asyncio.create_task(stop_on_signals().wait())
    database = Database(settings.database.model_copy(update={"migrate": True}))
    preparing = asyncio.create_task(database.prepare())
    await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        if not preparing.done():
            preparing.cancel()
            log.error("migrate.interrupted")
            return EXIT_INTERRUPTED
        preparing.result()
    finally:
        await database.close()
    log.info("migrate.done")
    return EXIT_OK


@contextlib.asynccontextmanager
async def _in_background(
    settings: SignupSettings, parts: Parts, clock: Clock
) -> AsyncIterator[asyncio.Task[None]]:
    """Run what isn't HTTP; at the end let the publisher finish, and raise what went wrong."""
    background = asyncio.create_task(_work(settings, parts, clock))
    try:
        yield background
        if not background.done():
            parts.publisher.stop()
            await asyncio.wait({background}, timeout=_PUBLISH_GRACE_S)
    finally:
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background
        with contextlib.suppress(TimeoutError):
            # What Kafka doesn't take now stays in the outbox.
            await asyncio.wait_for(parts.broker.close(), _PUBLISH_GRACE_S)
        await parts.database.close()


async def _work(settings: SignupSettings, parts: Parts, clock: Clock) -> None:
    await parts.database.prepare()
    status = StatusConsumer(
        settings.kafka, settings.topic, parts.challenges, count=parts.metrics.delivery
    )
    async with asyncio.TaskGroup() as group:
        helpers = [
            group.create_task(status.run()),
            group.create_task(
                keep_house(parts.outbox, clock, retention_s=settings.outbox.retention_s)
            ),
        ]
        await parts.publisher.run()
        for helper in helpers:
            helper.cancel()


def _make_publisher(
    settings: OutboxSettings,
    outbox: SqlOutbox,
    broker: BrokerClient,
    clock: Clock,
    *,
    metrics: SignupMetrics,
    tracer: Tracer,
) -> Publisher:
    return Publisher(
        outbox,
        broker,
        batch_size=settings.batch_size,
        lease_s=settings.lease_s,
        poll_s=settings.poll_s,
        clock=clock,
        metrics=metrics,
        tracer=tracer,
    )


def load_keyring(settings: SealingSettings) -> KeyRing | None:
    """Return the ring that seals codes; None where sealing is switched off.

    Raises:
        SettingError: there is no file, or it holds no keys.
    """
    if not settings.enabled:
        return None
    name = "MAILTOPIC_SEALING__KEYS_FILE"
    if settings.keys_file is None:
        raise SettingError(
            name, "is required, or MAILTOPIC_SEALING__ENABLED=false leaves codes readable in Kafka"
        )
    try:
        return KeyRing.load(settings.keys_file)
    except KeyRingError as error:
        raise SettingError(name, str(error)) from None


def _load_peppers(settings: SignupSettings) -> Peppers:
    try:
        return Peppers.load(settings.pepper.keys_file)
    except PepperError as error:
        raise SettingError("MAILTOPIC_PEPPER__KEYS_FILE", str(error)) from None


def limits_of(codes: CodesSettings) -> Limits:
    """Return the limits that the settings ask for."""
    return Limits(
        code_length=codes.length,
        ttl_ms=codes.ttl_s * 1000,
        max_tries=codes.max_tries,
        max_failures_per_day=codes.max_failures_per_day,
        cooldown_ms=codes.resend_cooldown_s * 1000,
    )


def _port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
