"""Senders are replaced when the data of a Secret or ConfigMap changes, and for nothing else."""

import base64
import hashlib
import json
from typing import Any

import pytest

from mailtopic_operator.domain.observed import data_object

PASSWORD = {"password": base64.b64encode(b"sesame").decode()}


def stored(uid: str = "0b1c", version: str = "1", **fields: Any) -> dict[str, Any]:
    metadata = {"uid": uid, "resourceVersion": version, **fields.pop("metadata", {})}
    return {"metadata": metadata, "data": PASSWORD, **fields}


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_annotations_and_labels_leave_the_version_alone(kind: str) -> None:
    refreshed = {"annotations": {"refreshed": "12:00"}, "labels": {"team": "mail"}}
    before = data_object(kind, stored())
    assert data_object(kind, stored(version="2", metadata=refreshed)) == before


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_other_data_is_another_version(kind: str) -> None:
    before = data_object(kind, stored())
    for data in ({"password": "b3RoZXI="}, {"passwort": PASSWORD["password"]}, {}, None):
        assert data_object(kind, stored(data=data)).version != before.version


def test_binary_data_counts_as_well() -> None:
    with_it = stored(binaryData={"ca.crt": "AAEC"})
    found = data_object("ConfigMap", with_it)
    assert found.keys == {"password", "ca.crt"}
    assert found.version != data_object("ConfigMap", stored()).version


def test_a_password_cannot_be_guessed_from_the_version_of_its_secret() -> None:
    version = data_object("Secret", stored()).version
    assert version != data_object("Secret", stored(uid="9f2e")).version
    text = json.dumps(PASSWORD, sort_keys=True).encode()
    assert version not in hashlib.sha256(text).hexdigest()
