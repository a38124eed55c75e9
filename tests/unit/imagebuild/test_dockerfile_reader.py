"""What is read of a Dockerfile."""

from pathlib import Path

from mailtopic_cli.cluster.images.dockerfile import Instruction, context_sources, read_dockerfile

TEXT = """\
# a comment
ARG BASE=one

FROM ${BASE} AS builder
RUN --mount=type=secret,id=x \\
    # a comment between
    echo a && \\
    echo b
copy pyproject.toml uv.lock ./
COPY --chown=1:1 services/x services/x
COPY --from=builder /app /app
"""


def read(tmp_path: Path) -> list[Instruction]:
    (tmp_path / "Dockerfile").write_text(TEXT)
    return read_dockerfile(tmp_path / "Dockerfile")


def test_lines_are_joined_and_comments_left_out(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert [each.keyword for each in found] == ["ARG", "FROM", "RUN", "COPY", "COPY", "COPY"]
    assert found[2].arguments == "--mount=type=secret,id=x echo a && echo b"
    assert found[2].options == ["--mount=type=secret,id=x"]
    assert found[2].words == ["echo", "a", "&&", "echo", "b"]


def test_the_sources_are_what_is_copied_from_the_context(tmp_path: Path) -> None:
    assert context_sources(read(tmp_path)) == ["pyproject.toml", "services/x", "uv.lock"]
