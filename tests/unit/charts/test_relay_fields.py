"""A relay has the same fields in the sender's settings, the MailTopic resource and the chart.

Each is compared field by field: name, type, default and bounds. Every difference is listed here
with its reason, and one that is listed and isn't there any more is a failure as well.
"""

import json
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic.alias_generators import to_camel

from mailtopic_contract.reply_patterns import MAX_PATTERN
from mailtopic_operator.model.relays import Relay as ResourceRelay
from mailtopic_operator.model.replies import Replies, ReplyRule
from mailtopic_sender.domain.replies.rules import CLASSES, MAX_RULES, PHASES
from mailtopic_sender.relays import RelayEntry, SmtpSettings
from support.helm import CHARTS

OF_SECRETS = "a file for a process, a reference to a Secret in Kubernetes"
SENDER_ALONE = {
    "usernameFile": OF_SECRETS,
    "passwordFile": OF_SECRETS,
    "caFile": OF_SECRETS,
    "oauth.clientSecretFile": OF_SECRETS,
    "oauth.refreshTokenFile": OF_SECRETS,
    "oauth.serviceAccountFile": OF_SECRETS,
    "oauth.tokenFile": OF_SECRETS,
    "oauth.caFile": OF_SECRETS,
}
RESOURCE_ALONE = {
    "allowInsecure": "a resource is written by people who don't see the pod: None needs consent",
    "credentialsSecretRef": OF_SECRETS,
    "caSecretRef": OF_SECRETS,
    "oauth.clientSecretRef": OF_SECRETS,
    "oauth.refreshTokenRef": OF_SECRETS,
    "oauth.serviceAccountRef": OF_SECRETS,
    "oauth.tokenRef": OF_SECRETS,
    "oauth.caSecretRef": OF_SECRETS,
    "rateLimit": "ratePerS as people say it, such as 14/s or 600/m; kept for its users",
}
RESOURCE_LACKS = {"ratePerS": "it is rateLimit there"}
CHART_ALONE = {
    "existingSecret": OF_SECRETS,
    "passwordKey": OF_SECRETS,
    "caSecret": OF_SECRETS,
    "oauth.existingSecret": OF_SECRETS,
    "oauth.clientSecretKey": OF_SECRETS,
    "oauth.refreshTokenKey": OF_SECRETS,
    "oauth.serviceAccountKey": OF_SECRETS,
    "oauth.tokenKey": OF_SECRETS,
    "oauth.caSecret": OF_SECRETS,
}
DEFAULTS = {
    "timeouts.connectS": "unset in Kubernetes: the sender's own holds",
    "timeouts.greetingS": "the same",
    "timeouts.commandS": "the same",
    "timeouts.envelopeS": "the same",
    "timeouts.blockS": "the same",
    "timeouts.dotS": "the same",
}
CHART_DEFAULTS = DEFAULTS | {"mailsPerConnection": "empty in the chart: the sender's own holds"}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def test_the_only_relay_has_what_one_of_several_has() -> None:
    one, several = fields(SmtpSettings.model_json_schema()), fields(RelayEntry.model_json_schema())
    in_files = {name for name in several if f"{name}File" in several}
    assert several.keys() - one.keys() == {
        "name",
        *(name for name in SENDER_ALONE if name.endswith("File") and name not in one),
    } | (in_files - one.keys())
    assert one.keys() - several.keys() == {
        "password",
        "oauth.clientSecret",
        "oauth.refreshToken",
        "oauth.serviceAccount",
    }
    same = one.keys() & several.keys()
    assert {name: one[name] for name in same} == {name: several[name] for name in same}


def test_the_resource_has_what_the_sender_has() -> None:
    sender = fields(RelayEntry.model_json_schema())
    resource = fields(ResourceRelay.model_json_schema(by_alias=True))
    assert sender.keys() - resource.keys() == SENDER_ALONE.keys() | RESOURCE_LACKS.keys()
    assert resource.keys() - sender.keys() == RESOURCE_ALONE.keys()
    assert differing(sender, resource) == DEFAULTS.keys()


def test_the_chart_has_what_the_sender_has() -> None:
    sender = fields(RelayEntry.model_json_schema())
    schema = json.loads((CHARTS / "sender/values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHARTS / "sender/values.yaml").read_text("utf-8"))["smtp"]
    entry = dict(schema["properties"]["relays"]["items"])
    chart = fields(entry | {"$defs": schema["$defs"]}, values)
    assert sender.keys() - chart.keys() == SENDER_ALONE.keys()
    assert chart.keys() - sender.keys() == CHART_ALONE.keys()
    assert differing(sender, chart) == CHART_DEFAULTS.keys()


def test_reply_rules_have_the_same_fields_everywhere() -> None:
    schema = json.loads((CHARTS / "sender/values.schema.json").read_text("utf-8"))
    chart = schema["properties"]["replies"]["properties"]["rules"]
    resource = ReplyRule.model_json_schema(by_alias=True)
    listed = Replies.model_json_schema(by_alias=True)["properties"]["rules"]
    assert chart["maxItems"] == listed["maxItems"] == MAX_RULES
    assert chart["items"]["required"] == resource["required"]
    theirs = fields(chart["items"])
    mine = fields(resource)
    assert mine.keys() == theirs.keys()
    assert {name: mine[name]["values"] for name in mine} == {
        name: theirs[name]["values"] for name in theirs
    }
    assert mine["code"] == theirs["code"]
    assert theirs["class"]["values"] == sorted(each.value for each in CLASSES)
    assert theirs["phase"]["values"] == sorted(PHASES)
    lengths = {"minLength": 1, "maxLength": MAX_PATTERN}
    for each in (chart["items"], resource):
        match = each["properties"]["match"]
        assert {name: match[name] for name in lengths} == lengths


def test_smtp_and_relays_of_the_chart_have_the_same_fields() -> None:
    schema = json.loads((CHARTS / "sender/values.schema.json").read_text("utf-8"))["properties"]
    one, several = schema["smtp"]["properties"], schema["relays"]["items"]["properties"]
    assert several.keys() - one.keys() == {"name"}
    differ = {name for name in one if one[name] != several[name]}
    assert differ == {"host"}  # may be empty in smtp, where relays are in use


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in one.keys() & other.keys() if one[name] != other[name]}


def fields(schema: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Each field by its name in camel case, with what is to be the same everywhere."""
    found: dict[str, Any] = {}
    for name, written in schema["properties"].items():
        field = resolved(written, schema.get("$defs", {}))
        shown = to_camel(name)
        value = None if values is None else values.get(shown)
        # A reference to a Secret is one field, whatever its parts are called.
        if "properties" in field and shown in {"oauth", "timeouts"}:
            below = fields(field | {"$defs": schema.get("$defs", {})}, value or {})
            found |= {f"{shown}.{each}": what for each, what in below.items()}
        else:
            found[shown] = facts(field, value)
    return found


def facts(field: Mapping[str, Any], value: Any) -> dict[str, Any]:
    default = field.get("default") if value is None else value
    items = field.get("items", {})
    return {
        "type": field.get("type"),
        "values": sorted(set(field.get("enum", items.get("enum", []))) - {""}),
        "default": None if default in ("", [], ()) else default,
        "bounds": {key: field[key] for key in BOUNDS if key in field},
    }


def resolved(field: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A field without references and without a choice of being unset."""
    made = {key: value for key, value in field.items() if key not in {"$ref", "anyOf", "allOf"}}
    if "$ref" in field:
        made = resolved(defs[field["$ref"].rpartition("/")[2]], defs) | made
    for choice in (*field.get("anyOf", ()), *field.get("allOf", ())):
        if choice.get("type") != "null" and choice.get("maxLength") != 0:
            made = resolved(choice, defs) | made
    if "items" in made:
        made["items"] = resolved(made["items"], defs)
    return made
