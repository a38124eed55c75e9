"""NetworkPolicies become packet filter rules."""

from typing import Any

import pytest

from localcluster.policy import NamedPort, Pod, ruleset, selects

SERVER = Pod("shop", "server", "10.244.0.2", {"app": "web"}, (NamedPort("http", "TCP", 8080),))
CLIENT = Pod("shop", "client", "10.244.0.3", {"role": "client"})
FOREIGNER = Pod("abroad", "client", "10.244.0.4", {"role": "client"})
PODS = [SERVER, CLIENT, FOREIGNER]
NAMESPACES = {"shop": {"team": "a"}, "abroad": {"team": "b"}}


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "p"}, "spec": {"podSelector": {}, **spec}}


def rules(*policies: dict[str, Any], chain: str) -> list[str]:
    """The rules of a chain, without what each chain begins and ends with."""
    text = ruleset(PODS, NAMESPACES, list(policies))
    assert f"chain {chain} {{" in text, text
    lines = text.split(f"chain {chain} {{\n")[1].split("\n  }")[0].splitlines()
    first, *middle, last = [line.strip() for line in lines]
    assert first.endswith("return")
    assert last == "counter drop"
    return middle


def web(*ingress: dict[str, Any]) -> dict[str, Any]:
    return policy(
        podSelector={"matchLabels": {"app": "web"}},
        policyTypes=["Ingress"],
        ingress=list(ingress),
    )


def test_without_policies_nothing_is_restricted() -> None:
    text = ruleset(PODS, NAMESPACES, [])
    assert "drop" not in text.replace("meta nfproto ipv6 drop", "")
    assert "vmap" not in text


def test_the_table_is_replaced_in_one_transaction() -> None:
    text = ruleset(PODS, NAMESPACES, [])
    first, second, third, *_ = text.splitlines()
    assert first == "table inet mailtopic_policies"
    assert second == "delete table inet mailtopic_policies"
    assert third == "table inet mailtopic_policies {"


def test_the_same_world_in_another_order_gives_the_same_text() -> None:
    policies = [web({"from": [{"podSelector": {}}]})]
    assert ruleset(PODS, NAMESPACES, policies) == ruleset(PODS[::-1], NAMESPACES, policies)


def test_a_policy_without_rules_lets_nothing_in_but_the_pod_itself() -> None:
    text = ruleset(PODS, NAMESPACES, [web()])
    assert "chain ingress_10_244_0_2 {\n    ip saddr 10.244.0.2 return\n    counter drop" in text
    assert "ip daddr vmap { 10.244.0.2 : jump ingress_10_244_0_2 }" in text
    assert "chain egress" not in text


def test_policies_select_only_pods_of_their_namespace() -> None:
    text = ruleset(PODS, NAMESPACES, [policy(policyTypes=["Ingress"])])
    assert "ingress_10_244_0_3" in text
    assert "ingress_10_244_0_4" not in text


def test_egress_holds_on_the_way_to_pods_and_to_the_node_itself() -> None:
    text = ruleset(PODS, NAMESPACES, [policy(policyTypes=["Egress"])])
    jump = "ip saddr vmap { 10.244.0.3 : jump egress_10_244_0_3, 10.244.0.2 : jump"
    for hook in ("forward", "input"):
        assert jump in text.split(f"chain {hook} {{")[1].split("\n  }")[0]


def test_an_empty_rule_allows_everything() -> None:
    assert rules(web({}), chain="ingress_10_244_0_2") == ["return"]


def test_a_pod_selector_alone_means_the_policys_own_namespace() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}
    assert rules(web(rule), chain="ingress_10_244_0_2") == ["ip saddr { 10.244.0.3 } return"]


def test_a_namespace_selector_alone_means_all_pods_there() -> None:
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}
    assert rules(web(rule), chain="ingress_10_244_0_2") == ["ip saddr { 10.244.0.4 } return"]


def test_both_selectors_in_one_peer_must_hold() -> None:
    peer = {
        "namespaceSelector": {"matchLabels": {"team": "b"}},
        "podSelector": {"matchLabels": {"role": "boss"}},
    }
    assert rules(web({"from": [peer]}), chain="ingress_10_244_0_2") == []


def test_peers_add_up_and_are_listed_as_the_fewest_networks() -> None:
    rule: dict[str, Any] = {"from": [{"podSelector": {}}, {"namespaceSelector": {}}]}
    assert rules(web(rule), chain="ingress_10_244_0_2") == [
        "ip saddr { 10.244.0.2/31, 10.244.0.4 } return"
    ]


def test_an_address_block_has_holes_where_it_has_exceptions() -> None:
    block = {"cidr": "10.0.0.0/30", "except": ["10.0.0.0/31"]}
    rule = {"from": [{"ipBlock": block}]}
    assert rules(web(rule), chain="ingress_10_244_0_2") == ["ip saddr { 10.0.0.2/31 } return"]


def test_a_block_that_is_all_exception_allows_nobody() -> None:
    block = {"cidr": "10.0.0.0/31", "except": ["10.0.0.0/30"]}
    assert rules(web({"from": [{"ipBlock": block}]}), chain="ingress_10_244_0_2") == []


def test_overlapping_blocks_become_one() -> None:
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert rules(web({"from": blocks}), chain="ingress_10_244_0_2") == [
        "ip saddr { 10.0.0.0/8 } return"
    ]


def test_ports_are_numbers_ranges_names_or_a_whole_protocol() -> None:
    ports = [
        {"port": 80},
        {"port": 5000, "protocol": "UDP"},
        {"port": 100, "endPort": 200},
        {"port": "http"},
        {"protocol": "UDP"},
    ]
    assert rules(web({"ports": ports}), chain="ingress_10_244_0_2") == [
        "tcp dport 80 return",
        "udp dport 5000 return",
        "tcp dport 100-200 return",
        "tcp dport 8080 return",
        "meta l4proto udp return",
    ]


@pytest.mark.parametrize("port", [{"port": "metrics"}, {"port": "http", "protocol": "UDP"}])
def test_a_name_that_the_pod_does_not_have_allows_nothing(port: dict[str, Any]) -> None:
    assert rules(web({"ports": [port]}), chain="ingress_10_244_0_2") == []


def test_a_named_port_on_the_way_out_is_the_receivers() -> None:
    egress = [{"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}]
    leaving = policy(policyTypes=["Egress"], egress=egress)
    assert rules(leaving, chain="egress_10_244_0_3") == [
        "ip daddr { 10.244.0.2 } tcp dport 8080 return"
    ]


def test_a_named_port_to_anywhere_means_every_pod_that_has_it() -> None:
    leaving = policy(policyTypes=["Egress"], egress=[{"ports": [{"port": "http"}]}])
    assert rules(leaving, chain="egress_10_244_0_3") == [
        "ip daddr { 10.244.0.2 } tcp dport 8080 return"
    ]


def test_several_policies_allow_what_any_of_them_allows() -> None:
    both = rules(
        web({"ports": [{"port": 1}]}), web({"ports": [{"port": 2}]}), chain="ingress_10_244_0_2"
    )
    assert both == ["tcp dport 1 return", "tcp dport 2 return"]


def test_what_cannot_be_filtered_is_not_allowed() -> None:
    sctp = {"ports": [{"port": 1, "protocol": "SCTP"}]}
    ipv6 = {"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}
    assert rules(web(sctp, ipv6), chain="ingress_10_244_0_2") == []


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, True),
        ({"key": "a", "operator": "In", "values": ["2"]}, False),
        ({"key": "b", "operator": "In", "values": ["1"]}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "a", "operator": "NotIn", "values": ["2"]}, True),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "operator": "DoesNotExist"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_expressions_hold_as_the_api_says(expression: dict[str, Any], *, holds: bool) -> None:
    assert selects({"matchExpressions": [expression]}, {"a": "1"}) is holds


def test_an_unknown_operator_is_an_error_and_no_permission() -> None:
    with pytest.raises(ValueError, match="unknown operator 'Near'"):
        selects({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {"a": "1"})
