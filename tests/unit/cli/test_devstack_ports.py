"""The ports of a devstack."""

import pytest

from mailtopic_cli.devstack.errors import OPTIONS_BY, BadStart
from mailtopic_cli.devstack.ports import Ports, check_ports
from mailtopic_cli.devstack.run_file import urls


def test_the_default_ports_are_the_documented_ones() -> None:
    assert Ports.default(2) == Ports(8080, 8025, 1025, 9092, 9093, (9100, 9101))


def test_a_port_base_gives_consecutive_ports_and_two_bases_do_not_meet() -> None:
    first, second = Ports.from_base(18000, 5), Ports.from_base(18010, 5)
    taken = [port for _, port in first.named()]
    assert taken == list(range(18000, 18010))
    assert not set(taken) & {port for _, port in second.named()}


def test_each_port_says_what_it_is_for() -> None:
    purposes = [purpose for purpose, _ in Ports.default(2).named()]
    assert purposes[-1] == "the metrics of sender 2"
    assert len(set(purposes)) == len(purposes) == 7


def test_every_page_and_metrics_port_has_a_url() -> None:
    assert urls(Ports.default(1)) == {
        "signup": "http://127.0.0.1:8080/",
        "inbox": "http://127.0.0.1:8025/",
        "signup metrics": "http://127.0.0.1:8080/metrics",
        "sender-1 metrics": "http://127.0.0.1:9100/metrics",
    }


@pytest.mark.parametrize(
    ("started_by", "hint"),
    [(None, ": --port-base …"), ("make demo DEMO_ARGS", ': make demo DEMO_ARGS="--port-base …"')],
)
def test_the_way_out_is_told_as_the_user_writes_options(
    monkeypatch: pytest.MonkeyPatch, started_by: str | None, hint: str
) -> None:
    monkeypatch.delenv(OPTIONS_BY, raising=False)
    if started_by is not None:
        monkeypatch.setenv(OPTIONS_BY, started_by)
    with pytest.raises(BadStart) as refused:
        check_ports(Ports(70_000, 1, 2, 3, 4, ()))
    assert str(refused.value).endswith(hint)
