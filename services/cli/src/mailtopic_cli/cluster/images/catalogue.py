"""The images: their names and sources."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.cluster.settings import REPOSITORY
from mailtopic_cli.kafka_distribution import load_distribution

STATE_DIR = REPOSITORY / ".cluster" / "images"
REGISTRY = "docker.io"


@dataclass(frozen=True, slots=True)
class Image:
    """One image. `tag` is what charts ask for; `dockerfile` is relative to the root."""

    name: str
    repository: str
    tag: str
    dockerfile: Path

    @property
    def reference(self) -> str:
        """The full name, under which a cluster finds it without a registry."""
        return f"{REGISTRY}/{self.repository}:{self.tag}"

    @property
    def short_reference(self) -> str:
        """The name as used in commands and charts."""
        return f"{self.repository}:{self.tag}"

    @property
    def is_kafka(self) -> bool:
        """Whether it is the broker, with a build context made from Maven's files."""
        return self.name == "kafka"


def catalogue() -> list[Image]:
    """All images, in the order in which they are built."""
    members = {
        "inbox": Path("services/inbox"),
        "signup": Path("services/signup"),
        "sender": Path("services/sender"),
        "operator": Path("operator"),
        "cli": Path("services/cli"),
    }
    kafka = Image(
        "kafka",
        "apache/kafka",
        load_distribution().version,
        Path("services/cli/kafka-image/Dockerfile"),
    )
    return [
        kafka,
        *(
            Image(name, f"mailtopic/{name}", _version(folder), folder / "Dockerfile")
            for name, folder in members.items()
        ),
    ]


def _version(folder: Path) -> str:
    text = (REPOSITORY / folder / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])
