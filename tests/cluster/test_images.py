"""The images as they are: what is in them, what isn't, and that they run as a pod runs them."""

import asyncio
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme
from aiosmtplib import SMTP

from localcluster.buildah import Buildah
from localcluster.fixtures import localcluster
from localcluster.parts import PARTS
from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.images.builder import archive_of
from mailtopic_cli.cluster.images.catalogue import Image, catalogue
from mailtopic_cli.cluster.images.engines import choose_engine
from mailtopic_cli.cluster.images.pass_through import build_environment
from mailtopic_cli.cluster.programs import Finished
from mailtopic_cli.cluster.settings import REPOSITORY, Settings
from mailtopic_cli.kafka_node import broker_answers
from support.conditions import until
from support.image_archive import Entry, ImageArchive
from support.image_sandbox import GIVEN, Sandbox
from support.ports import free_ports
from support.programs import answers
from support.requirements import require

Figure = Callable[[str], None]
IMAGES = {image.name: image for image in catalogue()}
PROGRAMS = [name for name in IMAGES if name != "kafka"]
TOOLS = re.compile(r"/(uv|uvx|pip[\d.]*|gcc|cc|g\+\+|ld|make|git)$")
DEPLOYED = pytest.mark.parametrize("name", IMAGES)
PROGRAM = pytest.mark.parametrize("name", PROGRAMS)


def build_images(*arguments: str) -> Finished:
    """Run `make images` without make, and leave whatever cluster there is alone."""
    return localcluster("images", "--no-load", *arguments, settings=Settings.from_environment())


@pytest.fixture(scope="session")
def engine() -> str:
    try:
        return choose_engine(PARTS.engines)
    except ClusterError as error:
        require("cluster", " ".join(str(error).split()))


@pytest.fixture(scope="session")
def archives(engine: str) -> dict[str, ImageArchive]:
    del engine
    done = build_images(*IMAGES)
    assert done.returncode == 0, done.stderr
    return {name: ImageArchive(archive_of(name)) for name in IMAGES}


@pytest.fixture(scope="session")
def sandboxes(
    archives: dict[str, ImageArchive], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Sandbox]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        require("cluster", "an image is run in namespaces, which needs root and unshare")
    folder = tmp_path_factory.mktemp("images")
    folder.chmod(0o711)
    folder.parent.chmod(0o711)

    def unpacked(name: str) -> Sandbox:
        root = folder / name
        if not root.exists():
            archives[name].unpack(root)
        return Sandbox(archives[name], root)

    return unpacked


@pytest.fixture(scope="session")
def entries(archives: dict[str, ImageArchive]) -> dict[str, list[Entry]]:
    return {name: archive.entries() for name, archive in archives.items()}


@DEPLOYED
def test_an_image_has_the_name_that_charts_ask_for(
    archives: dict[str, ImageArchive], name: str
) -> None:
    image: Image = IMAGES[name]
    # Docker leaves out the registry that it takes for granted.
    names = [full.removeprefix("docker.io/") for full in archives[name].names]
    assert names == [image.short_reference]
    assert archives[name].config["Labels"]["org.opencontainers.image.version"] == image.tag


@DEPLOYED
def test_the_size_of_an_image_is_reported(
    entries: dict[str, list[Entry]], figure: Figure, name: str
) -> None:
    size_mb = sum(entry.size_bytes for entry in entries[name]) / 1e6
    figure(f"{size_mb:.0f} MB unpacked")
    assert size_mb < 300


@DEPLOYED
def test_no_tool_that_builds_or_installs_is_in_an_image(
    entries: dict[str, list[Entry]], name: str
) -> None:
    files = [entry.path for entry in entries[name] if entry.is_file or entry.is_link]
    assert [path for path in files if TOOLS.search(path)] == []
    modules = re.compile(r"-packages/(pip|uv|setuptools|wheel|ensurepip)(/|$)")
    assert [entry.path for entry in entries[name] if modules.search(entry.path)] == []


@DEPLOYED
def test_nothing_but_tmp_is_writable_by_the_process(
    archives: dict[str, ImageArchive], entries: dict[str, list[Entry]], name: str
) -> None:
    uid, gid = (int(part) for part in archives[name].config["User"].split(":"))
    # Kafka's folders belong to it as in the official image; a chart mounts volumes over them.
    own = ("/etc/kafka", "/mnt/shared/config", "/var/lib/kafka", "/opt/kafka/logs", "/home/appuser")
    writable = [
        entry.path
        for entry in entries[name]
        if not entry.is_link
        and (entry.uid == uid or entry.gid == gid or entry.mode & 0o002)
        and not (name == "kafka" and entry.path.startswith(own))
    ]
    assert writable == ["/tmp"]  # noqa: S108 - the image's, and the only one
    assert [entry.path for entry in entries[name] if entry.is_file and entry.mode & 0o6000] == []


@DEPLOYED
def test_nothing_of_the_machine_that_built_it_is_in_an_image(
    archives: dict[str, ImageArchive], entries: dict[str, list[Entry]], name: str
) -> None:
    settings = build_environment(os.environ, has_certificates=False)
    hosts = set(re.findall(r"://(?:[^/\s@]*@)?([^/\s:']+)", settings)) - {"pypi.org"}
    needles = [str(REPOSITORY), "/run/secrets/build-", *hosts]
    found = archives[name].files_with([needle.encode() for needle in needles])
    # The code that mounts a build's secrets names them; it is part of the command line.
    assert [each for each in found if "/mailtopic_cli/cluster/images/" not in each[0]] == []
    assert [needle for needle in needles if needle in archives[name].document] == []
    by_path = {entry.path: entry for entry in entries[name]}
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        assert path not in by_path or by_path[path].size_bytes == 0
    settings_files = re.compile(r"/(pip\.conf|uv\.toml|\.netrc|\.pypirc|\.npmrc)$")
    assert [path for path in by_path if settings_files.search(path)] == []


@PROGRAM
def test_help_is_shown_by_an_unprivileged_process_on_a_read_only_root(
    sandboxes: Callable[[str], Sandbox], figure: Figure, name: str
) -> None:
    sandbox = sandboxes(name)
    started_s = time.monotonic()
    done = sandbox.run("--help")
    took_s = time.monotonic() - started_s
    assert done.returncode == 0, done.stderr
    assert f"usage: {program_of(name)} " in done.stdout.lower()
    figure(f"--help after {took_s:.2f} s")


@PROGRAM
def test_a_start_compiles_nothing(sandboxes: Callable[[str], Sandbox], name: str) -> None:
    done = sandboxes(name).run_program("python", "-v", "-c", f"import mailtopic_{name}.__main__")
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^# code object from '.*\.pyc'$", done.stderr, re.MULTILINE)
    compiled = re.findall(r"^# code object from '(.*\.py)'$", done.stderr, re.MULTILINE)
    assert compiled == []


BAD_SETTINGS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "signup": ([], {}, "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"),
    "sender": ([], {}, "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"),
    "inbox": (
        [],
        {"MAILTOPIC_INBOX__TLS_CERT_FILE": f"{GIVEN}/tls.crt"},
        "MAILTOPIC_INBOX__TLS_KEY_FILE",
    ),
    "operator": ([], {}, "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"),
    "cli": (["dlq", "list"], {}, "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"),
}


@PROGRAM
def test_a_missing_or_wrong_setting_is_one_line_and_exit_code_2(
    sandboxes: Callable[[str], Sandbox], name: str
) -> None:
    arguments, env, setting = BAD_SETTINGS[name]
    done = sandboxes(name).run(*arguments, env=env)
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(program_of(name))
    assert setting in done.stderr


def program_of(name: str) -> str:
    return "mailtopic" if name == "cli" else f"mailtopic-{name}"


def test_the_command_lines_image_says_in_one_line_that_it_runs_no_services(
    sandboxes: Callable[[str], Sandbox],
) -> None:
    for arguments in (["up"], ["inbox", "--data-dir", "/tmp/data"]):  # noqa: S108 - the image's
        done = sandboxes("cli").run(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "mailtopic-cli[devstack]" in done.stderr


@PROGRAM
def test_a_module_in_the_working_directory_replaces_none_of_python(
    sandboxes: Callable[[str], Sandbox], name: str
) -> None:
    script = "cd /tmp && echo 'raise SystemExit(9)' >colorsys.py && python -c 'import colorsys'"
    assert sandboxes(name).run_program("sh", "-c", script).returncode == 0
    careless = f"unset PYTHONSAFEPATH; {script}"
    assert sandboxes(name).run_program("sh", "-c", careless).returncode == 9


async def test_the_inbox_takes_a_mail_over_starttls_and_stops_in_good_order(
    sandboxes: Callable[[str], Sandbox], tmp_path: Path, figure: Figure
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    authority = trustme.CA()
    issued = authority.issue_cert("inbox.test", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(given / "tls.crt")
    issued.private_key_pem.write_to_path(given / "tls.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    smtp_port, http_port = free_ports(2)
    env = {
        "MAILTOPIC_INBOX__SMTP_PORT": str(smtp_port),
        "MAILTOPIC_INBOX__HTTP_PORT": str(http_port),
        "MAILTOPIC_INBOX__TLS_CERT_FILE": f"{GIVEN}/tls.crt",
        "MAILTOPIC_INBOX__TLS_KEY_FILE": f"{GIVEN}/tls.key",
    }
    url = f"http://127.0.0.1:{http_port}"
    sandbox = replace(sandboxes("inbox"), given=given)
    started_s = time.monotonic()
    with sandbox.running(log=tmp_path / "log", env=env) as process:
        ready = partial(asyncio.to_thread, answers, f"{url}/readyz")
        await until(ready, "the inbox to be ready", timeout_s=60)
        figure(f"ready after {time.monotonic() - started_s:.2f} s")
        tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        async with SMTP(
            hostname="127.0.0.1", port=smtp_port, start_tls=True, tls_context=tls
        ) as smtp:
            await smtp.sendmail("a@example.com", "b@example.com", b"Subject: hello\r\n\r\nx")
        async with httpx.AsyncClient() as http:
            listed = (await http.get(f"{url}/api/v1/messages")).json()
        assert [mail["Subject"] for mail in listed["messages"]] == ["hello"]
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert "@" not in (tmp_path / "log").read_text()


BROKER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
log.dirs=/tmp/data
offsets.topic.replication.factor=1
"""
START_BROKER = f"""\
set -eu
java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format -t {"A" * 21}Q \
  -c {GIVEN}/server.properties
exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir=/tmp \
  -Dlog4j2.configurationFile={GIVEN}/log4j2.properties \
  -cp '/opt/kafka/libs/*' kafka.Kafka {GIVEN}/server.properties
"""


async def test_kafka_starts_logs_and_stops_on_a_read_only_root(
    sandboxes: Callable[[str], Sandbox], tmp_path: Path, figure: Figure
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    client, controller = free_ports(2)
    (given / "server.properties").write_text(BROKER.format(client=client, controller=controller))
    (given / "log4j2.properties").write_text(
        "appender.out.type=Console\nappender.out.name=out\n"
        "appender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%p %m%n\n"
        "rootLogger.level=INFO\nrootLogger.appenderRef.out.ref=out\n"
    )
    sandbox = replace(sandboxes("kafka"), given=given)
    started_s = time.monotonic()
    log = tmp_path / "log"
    with sandbox.running("sh", "-c", START_BROKER, log=log) as process:
        await until(
            lambda: process.poll() is not None or broker_answers("127.0.0.1", client),
            "the broker to answer",
            timeout_s=120,
        )
        assert process.poll() is None, log.read_text()[-4000:]
        figure(f"formatted and answering after {time.monotonic() - started_s:.1f} s")
    # 143: Java's way to say that SIGTERM ended it in good order.
    assert process.returncode in {0, 143}, log.read_text()[-4000:]
    assert "INFO [KafkaRaftServer nodeId=1] Kafka Server started" in log.read_text()


def test_the_tools_that_charts_call_are_in_the_kafka_image(
    sandboxes: Callable[[str], Sandbox],
) -> None:
    sandbox = sandboxes("kafka")
    for tool in ("kafka.admin.ConfigCommand", "org.apache.kafka.tools.MetadataQuorumCommand"):
        done = sandbox.run_program("java", "-cp", "/opt/kafka/libs/*", tool, "--help")
        assert "ClassNotFoundException" not in done.stderr
        assert "bootstrap-server" in done.stdout + done.stderr


@pytest.mark.usefixtures("archives")
def test_images_that_are_unchanged_are_not_built_again(figure: Figure) -> None:
    names = ["kafka", "inbox"]
    before = [archive_of(name).stat().st_mtime_ns for name in names]
    started_s = time.monotonic()
    done = build_images(*names)
    figure(f"nothing to do: {time.monotonic() - started_s:.1f} s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unchanged") == len(names)
    assert [archive_of(name).stat().st_mtime_ns for name in names] == before


def test_what_a_build_is_told_about_its_index_reaches_no_layer(engine: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    base = "python:3.13-slim"
    with PARTS.engines[engine].opened(print) as opened:
        if isinstance(opened, Buildah):
            base = opened.output(
                "images",
                "--format",
                "{{.Name}}:{{.Tag}}",
                "--filter",
                "reference=localhost/mailtopic-base",
            ).splitlines()[0]
        (context / "Dockerfile").write_text(
            f"FROM {base} AS builder\n"
            "RUN --mount=type=secret,id=build-env "
            ". /run/secrets/build-env && test $PIP_INDEX_URL = https://index.example/simple && "
            "mkdir /made && echo from-the-builder >/made/file\n"
            f"FROM {base}\nCOPY --from=builder /made /made\n"
        )
        secret = tmp_path / "build-env"
        secret.write_text("export PIP_INDEX_URL=https://index.example/simple\n")
        log, reference = tmp_path / "log", "localhost/mailtopic-secret-test:1"
        opened.build(
            reference,
            dockerfile=context / "Dockerfile",
            context=context,
            arguments={},
            secrets={"build-env": secret},
            log=log,
        )
        opened.save(reference, tmp_path / "image.tar", log)
        opened.remove(reference)
    found = ImageArchive(tmp_path / "image.tar")
    assert found.files_with([b"from-the-builder"]) == [("made/file", b"from-the-builder")]
    assert found.files_with([b"index.example"]) == []
    assert "index.example" not in found.document
