"""The ports of a devstack."""

from mailtopic_cli.devstack.ports import Ports
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
