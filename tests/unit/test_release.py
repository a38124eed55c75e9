"""`make release` makes the same files of the same commit, and says what keeps it from that."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from support.helm import ROOT, helm_clients
from support.release import version
from support.release.__main__ import release
from support.release.tree import UnfitError, committed
from support.requirements import require

VERSION = "7.8.9"
_AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
MEMBERS = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))


def git(repository: Path, *arguments: str) -> str:
    """Return what git prints."""
    command = ["git", "-C", str(repository), *_AUTHOR, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def commit(repository: Path) -> None:
    """Commit everything."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "A change")


@pytest.fixture(scope="module")
def released_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, with VERSION and a section about it; not to be changed."""
    folder = tmp_path_factory.mktemp("repository")
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        source = ROOT / name
        if source.is_symlink() or source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    version.write(VERSION, folder)
    changelog = folder / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    changelog.write_text(
        text.replace("## Unreleased", f"## Unreleased\n\n## {VERSION}", 1), "utf-8"
    )
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def made(released_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release."""
    if not helm_clients():
        require("charts", "there is no helm: `make cluster` builds it, or name one: MAILTOPIC_HELM")
    out = tmp_path_factory.mktemp("release") / VERSION
    release(VERSION, out, released_tree)
    return out


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository that a test may change."""
    folder = tmp_path / "repository"
    member = folder / "services" / "contract" / "pyproject.toml"
    member.parent.mkdir(parents=True)
    member.write_text(f'[project]\nversion = "{VERSION}"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION}\n- A line\n\n## 7.8.8\n")
    git(tmp_path, "init", "--quiet", str(folder))
    commit(folder)
    return folder


def test_a_second_release_of_a_commit_is_the_same_bytes(
    made: Path, released_tree: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    release(VERSION, again, released_tree)
    first = {path.name: path.read_bytes() for path in made.iterdir()}
    second = {path.name: path.read_bytes() for path in again.iterdir()}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_every_file_has_its_checksum(made: Path) -> None:
    lines = (made / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made.iterdir()}
    del found["SHA256SUMS"]
    assert sums == found


def test_a_release_is_complete(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    for member in MEMBERS:
        assert f"mailtopic_{member}-{VERSION}-py3-none-any.whl" in names
        assert f"mailtopic_{member}-{VERSION}.tar.gz" in names
    for chart in ("mailtopic", "mailtopic-crds", "kafka", "signup", "sender", "inbox", "operator"):
        assert f"{chart}-{VERSION}.tgz" in names
    for part in ("k8s", "dashboards", "rules"):
        assert f"mailtopic-{part}-{VERSION}.tar.gz" in names
    assert {f"mailtopic-crds-{VERSION}.yaml", "images.txt", "RELEASE_NOTES.md"} <= names


def test_a_wheel_asks_for_the_other_members_of_its_release_and_has_the_licence(made: Path) -> None:
    with zipfile.ZipFile(made / f"mailtopic_client-{VERSION}-py3-none-any.whl") as wheel:
        about = wheel.read(f"mailtopic_client-{VERSION}.dist-info/METADATA").decode()
        licence = wheel.read(f"mailtopic_client-{VERSION}.dist-info/licenses/LICENSE").decode()
    assert f"Requires-Dist: mailtopic-contract=={VERSION}" in about
    assert licence == (ROOT / "LICENSE").read_text("utf-8")


def test_a_packaged_chart_asks_for_the_images_of_its_release(made: Path) -> None:
    rendered = helm_clients()[-1].template(made / f"mailtopic-{VERSION}.tgz")
    images = set(re.findall(r"\bmailtopic/[a-z]+:[0-9.]+", yaml.safe_dump(rendered)))
    listed = (made / "images.txt").read_text("utf-8").split()
    assert images == {image for image in listed if image.startswith("mailtopic/")}
    assert {image.partition(":")[2] for image in images} == {VERSION}


def test_a_package_has_no_names_and_times_of_the_machine(made: Path, released_tree: Path) -> None:
    committed_s = int(git(released_tree, "log", "-1", "--format=%ct"))
    with tarfile.open(made / f"mailtopic-{VERSION}.tgz") as package:
        entries = package.getmembers()
    assert {(entry.mtime, entry.uid, entry.uname) for entry in entries} == {(committed_s, 0, "")}


def test_the_bill_of_materials_and_the_licences_name_what_the_lock_has(made: Path) -> None:
    bill = json.loads((made / f"mailtopic-{VERSION}.cdx.json").read_text("utf-8"))
    names = {each["name"] for each in bill["components"]}
    assert {"aiokafka", "aiosmtplib", "fastapi", "kopf", "mailtopic-sender"} <= names
    assert not {"pytest", "ruff", "mypy"} & names
    lines = (made / "LICENCES.txt").read_text("utf-8").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if line.endswith(": not stated")] == []


def test_the_notes_are_the_changelogs_section(made: Path) -> None:
    notes = (made / "RELEASE_NOTES.md").read_text("utf-8")
    assert notes.startswith("### Added\n")
    assert "\n## " not in notes


def test_everything_of_ours_has_the_version_that_is_written(released_tree: Path) -> None:
    before = version.current(ROOT)
    assert before != VERSION
    with (released_tree / "uv.lock").open("rb") as lock:
        locked = tomllib.load(lock)["package"]
    ours = {each["version"] for each in locked if each["name"].startswith("mailtopic-")}
    assert ours == {VERSION}
    for about in released_tree.glob("charts/*/Chart.yaml"):
        chart = yaml.safe_load(about.read_text("utf-8"))
        versions = {chart["version"], *(each["version"] for each in chart.get("dependencies", []))}
        assert versions == {VERSION}, about
    folders = ("services", "operator", "observability", "charts", "k8s", "docs")
    left = [
        f"{path}: {line}"
        for folder in folders
        for path in (released_tree / folder).rglob("*")
        if path.is_file() and path.suffix not in {".jar", ".png"}
        for line in path.read_text("utf-8").splitlines()
        if before in line
    ]
    assert left == []


@pytest.mark.parametrize("text", ["", "v1.2.3", "1.2", "01.2.3", "1.2.3-rc.1", "1.2.3\n"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(version.VersionError, match=r"VERSION=0\.2\.0"):
        version.checked(text)


def test_a_committed_tree_with_notes_is_fit(repository: Path, tmp_path: Path) -> None:
    tree = committed(repository, VERSION, tmp_path / "tree")
    assert (tree.notes, tree.version) == ("- A line\n", VERSION)
    assert (tree.root / "CHANGELOG.md").is_file()


def test_another_version_than_the_trees_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfitError, match=r"`make version VERSION=7\.9\.0`"):
        committed(repository, "7.9.0", tmp_path / "tree")


def test_changes_that_are_not_committed_are_refused(repository: Path, tmp_path: Path) -> None:
    (repository / "new").touch()
    with pytest.raises(UnfitError, match="commit or stash"):
        committed(repository, VERSION, tmp_path / "tree")


@pytest.mark.parametrize("text", ["# Changelog\n", f"## {VERSION}\n\n## 7.8.8\n- A line\n"])
def test_a_version_without_notes_is_refused(repository: Path, tmp_path: Path, text: str) -> None:
    (repository / "CHANGELOG.md").write_text(text, "utf-8")
    commit(repository)
    with pytest.raises(UnfitError, match=rf"says nothing under `## {VERSION}`"):
        committed(repository, VERSION, tmp_path / "tree")


def test_every_package_of_an_image_has_a_wheel_for_both_architectures() -> None:
    with (ROOT / "uv.lock").open("rb") as file:
        locked = {each["name"]: each for each in tomllib.load(file)["package"]}
    wanted, wheels = ["signup", "sender", "inbox", "operator", "cli"], {}
    todo = [f"mailtopic-{name}" for name in wanted]
    while todo:
        name = todo.pop()
        if name not in wheels:
            package = locked[name]
            wheels[name] = [each["url"] for each in package.get("wheels", [])]
            asked = [*package.get("dependencies", [])]
            if name == "mailtopic-runtime":
                asked += package["optional-dependencies"]["tracing"]
            todo += [each["name"] for each in asked]
    third = {name: urls for name, urls in wheels.items() if not name.startswith("mailtopic-")}
    assert len(third) > 30
    for machine in ("x86_64", "aarch64"):
        fitting = re.compile(rf"-(py3|py2\.py3)-none-any\.whl$|-manylinux[^/]*{machine}[^/]*\.whl$")
        lacking = [name for name, urls in third.items() if not any(map(fitting.search, urls))]
        assert lacking == [], machine
