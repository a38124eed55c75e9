"""Topics that Kafka keeps for itself are refused, also where an older CRD lets them through."""

import pytest
from pydantic import ValidationError

from mailtopic_operator.model.mailtopic_spec import Topic


@pytest.mark.parametrize("name", ["__consumer_offsets", "__transaction_state", "__"])
def test_an_internal_topic_is_not_understood(name: str) -> None:
    with pytest.raises(ValidationError, match="Kafka's own"):
        Topic(name=name)


@pytest.mark.parametrize("name", [None, "mails", "_mails", "shop__mails"])
def test_other_names_are(name: str | None) -> None:
    assert Topic(name=name).name == name
