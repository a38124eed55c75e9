"""Charts lint, render the same with Helm 3 and 4, and can be packaged from a clone."""

import base64
import json
import re
from pathlib import Path

import pytest

from mailtopic_contract import KeyRing
from mailtopic_signup.domain.code import Peppers
from support.chart_cases import ChartCase, chart_cases
from support.helm import CHARTS, Helm, Manifest, charts, find, helm_clients

CASES = chart_cases()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_chart_passes_lint_with_the_values_of_ci(helm: Helm, case: ChartCase) -> None:
    assert "0 chart(s) failed" in helm.lint(case.chart, files=case.files)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_helm_client_renders_the_same_objects(newest_helm: Helm, case: ChartCase) -> None:
    objects = _without_made_values(case.render(newest_helm))
    for client in helm_clients():
        assert _without_made_values(case.render(client)) == objects


@pytest.mark.parametrize("chart", [name for name in charts() if name != "common"])
def test_a_chart_packed_from_a_clone_holds_all_that_it_needs(
    helm: Helm, chart: str, tmp_path: Path
) -> None:
    case = next(each for each in CASES if each.chart == chart)
    helm.run("package", str(CHARTS / chart), "--destination", str(tmp_path))
    packed = next(tmp_path.glob("*.tgz"))
    rendered = helm.template(packed, case.fixed, files=case.files)
    assert _without_made_values(rendered) == _without_made_values(case.render(helm))


def test_all_of_it_installs_with_no_values(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic")
    workloads = {
        (each["kind"], each["metadata"]["name"], each["spec"]["replicas"])
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet"}
    }
    assert workloads == {
        ("StatefulSet", "mailtopic-kafka", 1),
        ("Deployment", "mailtopic-signup", 1),
        ("Deployment", "mailtopic-sender", 2),
        ("Deployment", "mailtopic-inbox", 1),
        ("Deployment", "mailtopic-operator", 1),
    }


def test_a_release_of_another_name_keeps_its_parts_together(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic", release="codes")
    sender = find(objects, "Deployment", "codes-sender")
    env = {each["name"]: each.get("value") for each in _container(sender)["env"]}
    assert env["MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"] == "codes-kafka:9092"
    assert env["MAILTOPIC_SMTP__HOST"] == "codes-inbox"
    find(objects, "Service", "codes-kafka")
    find(objects, "Service", "codes-inbox")


def test_the_keys_that_the_chart_makes_are_keys_that_the_services_read(
    newest_helm: Helm, tmp_path: Path
) -> None:
    objects = newest_helm.template("mailtopic")
    ring = KeyRing.parse(_secret_text(objects, "mailtopic-sealing-keys"))
    assert ring.active == "k1"
    (tmp_path / "pepper.json").write_text(_secret_text(objects, "mailtopic-signup-pepper"))
    assert "p1" in repr(Peppers.load(tmp_path / "pepper.json"))


def test_what_data_needs_outlives_an_uninstall(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic")
    kept = {
        each["metadata"]["name"]
        for each in objects
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept >= {"mailtopic-sealing-keys", "mailtopic-signup-pepper", "mailtopic-signup-data"}


def test_the_migration_runs_before_anything_of_the_release_is_there(newest_helm: Helm) -> None:
    objects = newest_helm.template(
        "signup", files=(CHARTS / "signup" / "ci" / "postgresql-values.yaml",)
    )
    job = find(objects, "Job", "mailtopic-signup-migration")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    secrets = {
        volume["secret"]["secretName"] for volume in job["spec"]["template"]["spec"]["volumes"]
    }
    for name in secrets:
        annotations = find(objects, "Secret", name)["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        weights = [
            int(a["helm.sh/hook-weight"]) for a in (annotations, job["metadata"]["annotations"])
        ]
        assert weights[0] < weights[1]
    env = _container(find(objects, "Deployment", "mailtopic-signup"))["env"]
    assert {"name": "MAILTOPIC_DATABASE__MIGRATE", "value": "false"} in env


def _container(deployment: Manifest) -> Manifest:
    container: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def _secret_text(objects: list[Manifest], name: str) -> str:
    return base64.b64decode(find(objects, "Secret", name)["data"]["keys.json"]).decode()


def _without_made_values(objects: list[Manifest]) -> list[str]:
    """The objects without what Helm makes anew at every render, and what follows from it."""
    shown = []
    for each in objects:
        made = each["kind"] == "Secret"
        document = {key: value for key, value in each.items() if not (made and key == "data")}
        text = json.dumps(document, sort_keys=True)
        text = re.sub(r'("checksum/[a-z-]+": ")[0-9a-f]+', r"\1", text)
        shown.append(re.sub(r"(-access-)[0-9a-f]{8}\b", r"\1", text))
    return sorted(shown)


@pytest.mark.parametrize("length", [30, 34, 41, 42, 44, 53])
def test_components_of_a_release_with_a_long_name_share_no_name(
    newest_helm: Helm, length: int
) -> None:
    releases = [("r" * length)[:-1] + last for last in "ab"]
    names = [
        (each["kind"], each["metadata"]["name"])
        for release in releases
        for each in newest_helm.template("mailtopic", release=release)
        if each["kind"] != "CustomResourceDefinition"
    ]
    assert len(names) == len(set(names))
    # A StatefulSet's pods carry a label with its name and a hash of 10 letters.
    longest = {"StatefulSet": 52, "Service": 63, "Deployment": 63}
    assert [name for kind, name in names if len(name) > longest.get(kind, 253)] == []


def test_one_value_says_from_where_every_image_is_pulled(newest_helm: Helm) -> None:
    values = {"global.imageRegistry": "registry.example.com:5000/mail"}
    objects = newest_helm.template("mailtopic", values)
    text = json.dumps(objects)
    names = ("signup", "sender", "operator", "cli", "inbox")
    images = {f"mailtopic/{name}:" for name in names} | {"apache/kafka:"}
    for image in images:
        assert text.count(image) == text.count(f"registry.example.com:5000/mail/{image}") > 0
    own = {**values, "signup.image.registry": "other.example.com"}
    container = _container(
        find(newest_helm.template("mailtopic", own), "Deployment", "mailtopic-signup")
    )
    assert container["image"].startswith("other.example.com/mailtopic/signup:")
