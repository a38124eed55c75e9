"""The rules that every image's Dockerfile keeps."""

import re
import tomllib
from pathlib import Path

import pytest

from mailtopic_cli.cluster.images.catalogue import Image, catalogue
from mailtopic_cli.cluster.images.dockerfile import Instruction, context_sources, read_dockerfile
from mailtopic_cli.cluster.settings import REPOSITORY

IMAGES = {image.name: image for image in catalogue()}
MEMBERS = [name for name in IMAGES if name != "kafka"]
EVERY = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
MEMBER = pytest.mark.parametrize("name", MEMBERS)
LABELS = {"title", "description", "version", "revision", "licenses"}


def instructions(image: Image) -> list[Instruction]:
    return read_dockerfile(REPOSITORY / image.dockerfile)


def arguments(image: Image, keyword: str) -> list[str]:
    return [each.arguments for each in instructions(image) if each.keyword == keyword]


def final_stage(image: Image) -> list[Instruction]:
    found = instructions(image)
    last = max(index for index, each in enumerate(found) if each.keyword == "FROM")
    return found[last:]


def test_there_is_an_image_for_every_member_that_is_deployed() -> None:
    dockerfiles = {path.parent for path in (REPOSITORY / "services").glob("*/Dockerfile")}
    assert {folder.name for folder in dockerfiles} | {"operator", "kafka"} == set(IMAGES)


@EVERY
def test_the_base_is_an_argument_and_the_last_stage_begins_with_it(image: Image) -> None:
    assert instructions(image)[0].keyword == "ARG"
    assert instructions(image)[0].arguments.startswith("BASE=")
    assert final_stage(image)[0].arguments == "${BASE}"


@EVERY
def test_the_process_is_no_root_and_its_user_is_a_number(image: Image) -> None:
    users = [each.arguments for each in final_stage(image) if each.keyword == "USER"]
    assert users == ["1000:1000" if image.is_kafka else "10001:10001"]


@EVERY
def test_kubernetes_does_the_health_checks(image: Image) -> None:
    assert arguments(image, "HEALTHCHECK") == []
    assert arguments(image, "VOLUME") == []


@EVERY
def test_the_labels_of_the_open_container_initiative_are_there(image: Image) -> None:
    labels = " ".join(arguments(image, "LABEL"))
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)) == LABELS


@EVERY
def test_no_secret_and_no_index_is_an_argument_or_a_variable(image: Image) -> None:
    settings = [*arguments(image, "ARG"), *arguments(image, "ENV")]
    names = re.findall(r"(\w+)=|^(\w+)$", " ".join(settings))
    words = {word for pair in names for name in pair for word in name.lower().split("_")}
    assert not words & {"token", "password", "secret", "key", "index", "url", "proxy", "cert"}


@EVERY
def test_nothing_is_fetched_by_an_instruction_other_than_run(image: Image) -> None:
    assert arguments(image, "ADD") == []


@MEMBER
def test_every_copied_path_is_there_and_passes_dockerignore(name: str) -> None:
    admitted = {
        line.removeprefix("!")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = context_sources(instructions(IMAGES[name]))
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert Path(source).parts[0] in admitted, source


@MEMBER
def test_only_the_members_that_a_member_needs_are_copied(name: str) -> None:
    copied = {s for s in context_sources(instructions(IMAGES[name])) if (REPOSITORY / s).is_dir()}
    assert copied == {str(folder.relative_to(REPOSITORY)) for folder in needed(member_folder(name))}


def member_folder(name: str) -> Path:
    return REPOSITORY / "operator" if name == "operator" else REPOSITORY / "services" / name


def needed(folder: Path) -> set[Path]:
    """A member and the members that it depends on, directly or not."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    found = {folder}
    for dependency in project["dependencies"]:
        if dependency.startswith("mailtopic-"):
            name = re.match("[a-z]+", dependency.removeprefix("mailtopic-"))
            assert name
            found |= needed(member_folder(name[0]))
    return found


@MEMBER
def test_the_same_uv_as_on_a_developers_machine_installs_what_the_lock_names(name: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    version = re.search(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert version
    assert f"UV_VERSION={version[1]}" in arguments(IMAGES[name], "ARG")
    syncs = [run for run in arguments(IMAGES[name], "RUN") if "uv sync" in run]
    assert len(syncs) == 2
    assert all("--frozen" in run and "--no-dev" in run for run in syncs)
    assert "--no-editable" in syncs[1]


@MEMBER
def test_python_takes_no_module_from_the_working_directory_and_writes_none(name: str) -> None:
    variables = " ".join(each.arguments for each in final_stage(IMAGES[name]))
    for setting in ("PYTHONSAFEPATH=1", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"):
        assert setting in variables


@MEMBER
def test_the_entrypoint_is_a_program_of_the_member(name: str) -> None:
    project = tomllib.loads((member_folder(name) / "pyproject.toml").read_text())["project"]
    (program,) = project["scripts"]
    assert arguments(IMAGES[name], "ENTRYPOINT") == [f'["{program}"]']


def test_the_dockerfiles_of_the_members_differ_in_names_only() -> None:
    shapes = {shape_of(IMAGES[name]) for name in MEMBERS}
    assert len(shapes) == 1


def shape_of(image: Image) -> str:
    lines = (REPOSITORY / image.dockerfile).read_text().replace(f"mailtopic-{image.name}", "@")
    kept = [
        line
        for line in lines.splitlines()
        if not line.startswith(("#", "COPY services/", "COPY operator ", "ENTRYPOINT"))
        and "description" not in line
    ]
    return "\n".join(kept)
