"""Writes `kafka.lock.toml`, to move MailTopic to another Apache Kafka.

    python -m mailtopic_cli.kafka_lock 4.3.1

jgo resolves the broker and what it depends on; every jar is downloaded and its SHA-256 written
down. Nothing else in MailTopic resolves versions.
"""

import sys
import tempfile
from pathlib import Path

from jgo.env import LockFile
from jgo.maven import Dependency, MavenContext

from mailtopic_cli.kafka_distribution import LOCK_NAME


def write_lock(kafka_version: str, target: Path) -> int:
    """Resolve Apache Kafka `kafka_version` and write the lock to `target`.

    Returns:
        The number of jars in the lock.
    """
    with tempfile.TemporaryDirectory() as repository:
        context = MavenContext(repo_cache=Path(repository), local_repos=[])

        def dependency(group: str, artifact: str, version: str) -> Dependency:
            component = context.project(group, artifact).at_version(version)
            return Dependency(component.artifact(), scope="runtime")

        kafka = dependency("org.apache.kafka", "kafka_2.13", kafka_version)
        inputs, transitive = context.resolver.resolve([kafka])
        log4j = next(d.version for d in transitive if d.artifactId == "log4j-core")
        # The broker logs through SLF4J 1.7 and its archive adds this bridge to Log4j 2; the
        # published module does not depend on it.
        bridge = dependency("org.apache.logging.log4j", "log4j-slf4j-impl", log4j)
        # Each jar once, sorted, so that changes of the lock are easy to review.
        found = {d.artifact.key: d for d in (*inputs, bridge, *transitive)}
        jars = sorted(found.values(), key=lambda d: (d.groupId, d.artifactId))
        lock = LockFile.from_resolved_dependencies(jars, environment_name="kafka")
        lock.save(target)
    return len(jars)


if __name__ == "__main__":
    path = Path(__file__).with_name(LOCK_NAME)
    sys.stdout.write(f"{path.name}: {write_lock(sys.argv[1], path)} jars\n")
