"""The composition root: makes the parts from the settings, runs them, stops them in order."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from mailtopic_client import BrokerClient, KafkaClient
from mailtopic_runtime import (
    EXIT_OK,
    NO_TRACER,
    Clock,
    SystemClock,
    Tracer,
    configure_logging,
    get_logger,
    open_tracer,
    process_registry,
    stop_on_signals,
)
from mailtopic_signup.adapters.mail_domains import MailDomains
from mailtopic_signup.adapters.sql_challenges import SqlChallenges
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_deliveries import SqlDeliveries
from mailtopic_signup.adapters.sql_mails import SqlMails
from mailtopic_signup.adapters.sql_outbox import SqlOutbox
from mailtopic_signup.adapters.sql_retention import SqlRetention
from mailtopic_signup.adapters.sql_suppressions import SqlSuppressions
from mailtopic_signup.adapters.status_consumer import StatusConsumers
from mailtopic_signup.app import create_app
from mailtopic_signup.domain.challenge import Limits, MailCaps
from mailtopic_signup.housekeeping import Housekeeping
from mailtopic_signup.http_server import HttpServer, listen
from mailtopic_signup.keys import Keys
from mailtopic_signup.mails import MailService
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.publisher import Publisher
from mailtopic_signup.publishers import Publishers
from mailtopic_signup.recipients import Recipients, load_domains
from mailtopic_signup.service import SignupService
from mailtopic_signup.settings import (
    CodesSettings,
    MigrateSettings,
    OutboxSettings,
    RecipientsSettings,
    SignupSettings,
)
from mailtopic_signup.system_routes import System
from mailtopic_signup.throttle import ClientLimits

_PUBLISH_GRACE_S = 5.0
_COLLECT_AFTER = 20_000
"""New objects after which the garbage collector looks for cycles among them."""

EXIT_INTERRUPTED = 1
"""The tables may not be up to date yet; a Job tries again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An assembled signup service that isn't running yet."""

    app: FastAPI
    database: Database
    challenges: SqlChallenges
    outbox: SqlOutbox
    mails: SqlMails
    deliveries: SqlDeliveries
    broker: BrokerClient
    publisher: Publishers
    house: Housekeeping
    keys: Keys
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
    keys = Keys.load(settings)
    database = Database(settings.database)
    challenges, outbox, mails = SqlChallenges(database), SqlOutbox(database), SqlMails(database)
    registry = process_registry("signup")
    metrics = SignupMetrics(registry)
    recipients = _make_recipients(settings.recipients)
    publisher = _make_publishers(
        settings.outbox,
        topics_of(settings, keys),
        outbox=outbox,
        broker=broker,
        clock=clock,
        metrics=metrics,
        tracer=tracer,
    )
    service = SignupService(
        challenges,
        recipients=recipients,
        peppers=keys.peppers,
        mails=keys.mails,
        limits=limits_of(settings.codes),
        clock=clock,
        count=metrics.count,
        on_queued=partial(publisher.wake, settings.topic),
    )
    mail_service = MailService(
        mails,
        recipients=recipients,
        peppers=keys.peppers,
        mails=keys.mails,
        clock=clock,
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
    clients = ClientLimits(settings.clients, clock, lambda: metrics.count("throttled"))
    app = create_app(
        settings,
        service,
        system,
        clients,
        mails=mail_service,
        tokens=keys.tokens,
        tracer=tracer,
    )
    house = Housekeeping(
        outbox,
        SqlRetention(database),
        clock,
        mails_s=settings.outbox.retention_s,
        challenges_s=settings.retention.challenges_s,
        others=(
            lambda now_ms: mails.purge(
                expired_before_ms=now_ms - settings.mails.retention_s * 1000
            ),
            lambda now_ms: SqlSuppressions(database).purge(now_ms=now_ms),
        ),
    )
    return Parts(
        app=app,
        database=database,
        challenges=challenges,
        outbox=outbox,
        mails=mails,
        deliveries=SqlDeliveries(database),
        broker=broker,
        publisher=publisher,
        house=house,
        keys=keys,
        metrics=metrics,
    )


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
        # No timeout, however long Kafka is down: the producer repeats a record under its sequence
        # number, so it is stored once. Given up and published again, it could be stored twice.
        publish_timeout_s=None,
    )
    tracer = open_tracer(
        settings.tracing, service="mailtopic-signup", version=version("mailtopic-signup")
    )
    parts = assemble(settings, clock, broker, broker_problem=lambda: broker.problem, tracer=tracer)
    _spare_the_collector()
    listener = listen(settings.http)
    server = HttpServer(
        parts.app, settings.http, is_behind_proxies=settings.clients.trusted_proxies > 0
    )
    get_logger(__name__).info("signup.started", port=_port_of(listener), topic=settings.topic)
    with listener:
        async with _in_background(settings, parts) as background:
            serving = asyncio.create_task(server.serve([listener]))
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, waiting, background}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            server.stop()
            await serving
    await tracer.close()
    get_logger(__name__).info("signup.stopped")
    return EXIT_OK


def _spare_the_collector() -> None:
    """Exclude objects that live as long as the process from garbage collection.

    By default every object is scanned again and again; and the objects of a request are gone when
    it is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


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
    settings: SignupSettings, parts: Parts
) -> AsyncIterator[asyncio.Task[None]]:
    """Run what isn't HTTP; at the end let the publisher finish, and raise any error."""
    background = asyncio.create_task(_work(settings, parts))
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


async def _work(settings: SignupSettings, parts: Parts) -> None:
    await parts.database.prepare()
    status = StatusConsumers(
        settings.kafka,
        partial(topics_of, settings, parts.keys),
        parts.deliveries,
        count=parts.metrics.delivery,
        skipped=parts.metrics.status_records_skipped.inc,
    )
    async with asyncio.TaskGroup() as group:
        helpers = [
            group.create_task(status.run()),
            group.create_task(parts.house.run()),
            group.create_task(parts.keys.watch()),
        ]
        await parts.publisher.run()
        for helper in helpers:
            helper.cancel()


def _make_publishers(
    settings: OutboxSettings,
    topics: Sequence[str],
    *,
    outbox: SqlOutbox,
    broker: BrokerClient,
    clock: Clock,
    metrics: SignupMetrics,
    tracer: Tracer,
) -> Publishers:
    def make(topic: str) -> Publisher:
        return Publisher(
            outbox,
            broker,
            batch_size=settings.batch_size,
            lease_s=settings.lease_s,
            poll_s=settings.poll_s,
            clock=clock,
            metrics=metrics,
            tracer=tracer,
            topic=topic,
        )

    return Publishers(make, outbox, topics=topics, poll_s=settings.poll_s)


def topics_of(settings: SignupSettings, keys: Keys) -> tuple[str, ...]:
    """Return the topics that mails may be sent to, the service's own first."""
    others = keys.tokens.topics if keys.tokens else frozenset()
    return (settings.topic, *sorted(others - {settings.topic}))


def _make_recipients(settings: RecipientsSettings) -> Recipients:
    path = settings.blocked_domains_file
    blocked = load_domains(path) if path else frozenset()
    if settings.mx_lookup:
        return Recipients(blocked, MailDomains(settings).takes_mail)
    return Recipients(blocked)


def limits_of(codes: CodesSettings) -> Limits:
    """Return the limits that the settings ask for."""
    return Limits(
        code_length=codes.length,
        max_tries=codes.max_tries,
        max_failures_per_day=codes.max_failures_per_day,
        mails=MailCaps(
            cooldown_ms=codes.resend_cooldown_s * 1000,
            per_hour=codes.max_mails_per_hour,
            per_day=codes.max_mails_per_day,
            code_ttl_ms=codes.ttl_s * 1000,
        ),
    )


def _port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
