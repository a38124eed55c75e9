"""What docs/guides/providers tells to write is what a sender, the chart and the operator take."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from mailtopic_cli.relay.providers import PROVIDERS, provider_of
from mailtopic_operator.model.mailtopic import MailTopic
from mailtopic_runtime import load_settings
from mailtopic_sender.settings import MailSettings
from support.dkim_keys import pem, rsa_key
from support.helm import ROOT
from support.smtp_relay import Authority

FOLDER = ROOT / "docs" / "guides" / "providers"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
SCHEMA = json.loads((ROOT / "charts" / "sender" / "values.schema.json").read_text("utf-8"))
SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "mailer@example.iam.gserviceaccount.com",
    "private_key": pem(rsa_key()).decode(),
    "token_uri": "https://oauth2.googleapis.com/token",
}
SHAPE = ["Settings", "Limits", "In the DNS", "What it says"]


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.+?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def values_of(page: Path) -> list[dict[str, Any]]:
    return [each for text in blocks(page, "yaml") if "sender" in (each := yaml.safe_load(text))]


def topics_of(page: Path) -> list[dict[str, Any]]:
    found = [yaml.safe_load(text) for text in blocks(page, "yaml")]
    return [each for each in found if each.get("kind") == "MailTopic"]


def settings_of(text: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> MailSettings:
    """The settings that a sender makes of a block, in a directory with the files that it names."""
    for name in list(os.environ):
        if name.startswith(("MAILTOPIC_", "MAIL_")):
            monkeypatch.delenv(name)
    (directory / "relay-password").write_text("secret")
    (directory / "client-secret").write_text("secret")
    (directory / "service-account.json").write_text(json.dumps(SERVICE_ACCOUNT))
    Authority().write_pem(directory / "ca.pem")
    monkeypatch.chdir(directory)
    for line in text.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    return load_settings(MailSettings, "mailtopic-sender")


def assert_within(part: object, whole: object) -> None:
    """Everything that is written is understood: nothing was passed over."""
    if isinstance(part, Mapping):
        assert isinstance(whole, Mapping)
        for key, value in part.items():
            assert key in whole
            assert_within(value, whole[key])
    elif isinstance(part, list):
        assert isinstance(whole, list)
        for one, other in zip(part, whole, strict=True):
            assert_within(one, other)
    else:
        assert part == whole


def test_each_provider_that_the_check_knows_has_a_page() -> None:
    titles = {text_of(page).splitlines()[0].removeprefix("# ") for page in PAGES}
    assert titles == {each.name for each in PROVIDERS} | {"A Postfix of your own"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
class TestPages:
    def test_pages_have_one_shape(self, page: Path) -> None:
        assert re.findall(r"^## (.+)$", text_of(page), re.MULTILINE) == SHAPE
        assert "mailtopic relay check" in text_of(page)
        assert f"]({page.name})" in text_of(FOLDER / "README.md")

    def test_a_sender_takes_the_environment(
        self, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        texts = blocks(page, "env")
        assert texts
        for text in texts:
            settings = settings_of(text, monkeypatch, tmp_path)
            assert settings.open_relays()
            assert settings.from_address()

    def test_the_chart_takes_the_values(self, page: Path) -> None:
        found = values_of(page)
        assert found
        validator = jsonschema_rs.validator_for(SCHEMA)
        for values in found:
            assert set(values) == {"sender"}
            assert [str(each) for each in validator.iter_errors(values["sender"])] == []

    def test_the_operator_takes_the_mailtopic_and_passes_nothing_over(self, page: Path) -> None:
        found = topics_of(page)
        assert found
        for topic in found:
            assert topic["apiVersion"] == MailTopic.api_version
            assert_within(topic["spec"], MailTopic.parse(topic).spec.to_object())

    def test_all_three_name_the_same_relay(
        self, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (relay,) = settings_of(blocks(page, "env")[0], monkeypatch, tmp_path).open_relays()
        smtp = values_of(page)[0]["sender"]["smtp"]
        (entry,) = topics_of(page)[0]["spec"]["relays"]
        assert relay.host == smtp["host"] == entry["host"]
        assert relay.username == smtp["username"]
        assert relay.max_connections == smtp.get("maxConnections", 10)
        assert relay.max_connections == entry.get("maxConnections", 10)
        title = text_of(page).splitlines()[0].removeprefix("# ")
        provider = provider_of(relay.host)
        assert provider is None or provider.name == title

    def test_links_lead_somewhere(self, page: Path) -> None:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page))
        assert links
        assert [link for link in links if not (FOLDER / link).exists()] == []
