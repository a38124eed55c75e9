"""The patches by which one overlay differs from the base."""

from typing import Any

from support.strategic_merge import in_key_order, patch, removal

Object = dict[str, Any]


def deployment(**container: Any) -> Object:
    pod = {"containers": [{"name": "sender", "image": "sender:1", **container}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sender"},
        "spec": {"template": {"spec": pod}},
    }


def patched_container(before: Object, after: Object) -> Object:
    found: Object = patch(before, after)["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_patch_names_the_object_and_holds_only_what_differs() -> None:
    before = {**deployment(), "data": {"same": "1", "other": "2", "gone": "3"}}
    after = {**deployment(), "data": {"same": "1", "other": "4", "new": "5"}}
    assert patch(before, after) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sender"},
        "data": {"other": "4", "new": "5", "gone": None},
    }


def test_variables_are_patched_by_name_and_deleted_by_name() -> None:
    before = deployment(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    after = deployment(env=[{"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    assert patched_container(before, after) == {
        "name": "sender",
        "env": [
            {"name": "B", "value": "3"},
            {"name": "C", "value": "4"},
            {"name": "A", "$patch": "delete"},
        ],
    }


def test_a_list_without_a_key_is_replaced_as_a_whole() -> None:
    changed = patched_container(deployment(args=["a", "b"]), deployment(args=["a", "c"]))
    assert changed == {"name": "sender", "args": ["a", "c"]}


def test_an_object_is_removed_by_its_kind_and_name() -> None:
    assert removal(deployment()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sender"},
        "$patch": "delete",
    }


def test_only_lists_with_a_key_are_equal_in_any_order() -> None:
    one, two = {"name": "A"}, {"name": "B"}
    assert in_key_order({"env": [one, two]}) == in_key_order({"env": [two, one]})
    assert in_key_order({"args": ["a", "b"]}) != in_key_order({"args": ["b", "a"]})
