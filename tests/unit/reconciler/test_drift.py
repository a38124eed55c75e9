"""What counts as changed by hand, and what is taken out again."""

import copy
from typing import Any

import pytest

from mailtopic_operator.domain.children import wanted_children
from mailtopic_operator.domain.children.common import MANAGER
from mailtopic_operator.domain.drift import difference, removals
from mailtopic_operator.domain.field_sets import in_words, leaves, writer
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.quantities import quantity, same_quantity
from support.mailtopic_world import World

Json = dict[str, Any]
SCALER = "kube-controller-manager through scale"


@pytest.fixture
def manifest() -> Json:
    children = wanted_children(World().desired, Observed(topics={}))
    return dict(next(child for child in children if child["kind"] == "Deployment"))


@pytest.fixture
def live(manifest: Json) -> Json:
    made = copy.deepcopy(manifest)
    made["metadata"] |= {"resourceVersion": "7", "managedFields": []}
    return made


def _container(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def _edited_by(live: Json, fields: Json, manager: str = "kubectl-edit", **entry: Any) -> None:
    made = {"manager": manager, "operation": "Update", "fieldsV1": fields, **entry}
    live["metadata"]["managedFields"].append(made)


def test_what_the_server_adds_by_itself_is_no_difference(manifest: Json, live: Json) -> None:
    live["spec"]["progressDeadlineSeconds"] = 600
    _container(live)["terminationMessagePath"] = "/dev/termination-log"
    assert difference(manifest, live) is None


def test_amounts_may_be_written_in_another_way(manifest: Json, live: Json) -> None:
    _container(live)["resources"]["limits"] = {"cpu": "1000m", "memory": "196608Ki"}
    assert difference(manifest, live) is None
    _container(live)["resources"]["limits"]["cpu"] = "2"
    assert difference(manifest, live) == "drift"


def test_another_order_of_variables_is_no_difference(manifest: Json, live: Json) -> None:
    _container(live)["env"].reverse()
    assert difference(manifest, live) is None


def test_another_manifest_is_a_change_and_no_drift(manifest: Json, live: Json) -> None:
    live["metadata"]["annotations"]["mailtopic.dev/applied"] = "of another time"
    assert difference(manifest, live) == "changed"


@pytest.mark.parametrize(
    "path",
    [
        ("spec", "replicas"),
        ("spec", "template", "spec", "serviceAccountName"),
        ("metadata", "labels", "mailtopic.dev/mailtopic"),
        ("metadata", "ownerReferences"),
    ],
)
def test_a_field_that_is_missing_is_drift(
    manifest: Json, live: Json, path: tuple[str, ...]
) -> None:
    *steps, last = path
    place = live
    for step in steps:
        place = place[step]
    del place[last]
    assert difference(manifest, live) == "drift"


def test_false_and_nothing_are_the_same_where_the_server_drops_it(
    manifest: Json, live: Json
) -> None:
    del live["spec"]["minReadySeconds"]
    assert difference(manifest, live) is None


def test_a_list_that_is_no_map_must_be_the_same(manifest: Json, live: Json) -> None:
    _container(live)["securityContext"]["capabilities"]["drop"].append("NET_RAW")
    assert difference(manifest, live) == "drift"


def test_an_added_variable_is_taken_out_by_its_place(manifest: Json, live: Json) -> None:
    _container(live)["env"].insert(0, {"name": "X", "value": "1"})
    item: Json = {'k:{"name":"X"}': {".": {}, "f:name": {}, "f:value": {}}}
    pod = {"f:containers": {'k:{"name":"sender"}': {"f:env": item}}}
    _edited_by(live, {"f:spec": {"f:template": {"f:spec": pod}}})
    test, remove = removals(manifest, live)
    assert test == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert remove == {"op": "remove", "path": "/spec/template/spec/containers/0/env/0"}


def test_several_items_are_taken_out_from_the_back(manifest: Json, live: Json) -> None:
    env = _container(live)["env"]
    places = [len(env), len(env) + 1]
    env += [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]
    items: Json = {f'k:{{"name":"{name}"}}': {".": {}, "f:value": {}} for name in "XY"}
    pod = {"f:containers": {'k:{"name":"sender"}': {"f:env": items}}}
    _edited_by(live, {"f:spec": {"f:template": {"f:spec": pod}}})
    ends = [int(op["path"].rpartition("/")[2]) for op in removals(manifest, live)[1:]]
    assert ends == sorted(places, reverse=True)


def test_a_field_of_ours_that_others_set_too_is_not_taken_out(manifest: Json, live: Json) -> None:
    _edited_by(live, {"f:spec": {"f:replicas": {}}})
    assert removals(manifest, live) == ()


@pytest.mark.parametrize(
    ("manager", "entry"),
    [
        (MANAGER, {}),
        ("kube-controller-manager", {}),
        ("anybody", {"subresource": "scale"}),
        ("anybody", {"subresource": "status"}),
    ],
)
def test_what_controllers_write_stays(
    manifest: Json, live: Json, manager: str, entry: Json
) -> None:
    live["spec"]["paused"] = True
    _edited_by(live, {"f:spec": {"f:paused": {}}}, manager, **entry)
    assert removals(manifest, live) == ()


def test_labels_and_annotations_of_the_object_stay(manifest: Json, live: Json) -> None:
    live["metadata"]["labels"]["argocd"] = "x"
    _edited_by(live, {"f:metadata": {"f:labels": {"f:argocd": {}}}})
    assert removals(manifest, live) == ()
    assert difference(manifest, live) is None


def test_a_restart_by_kubectl_stays(manifest: Json, live: Json) -> None:
    name = "kubectl.kubernetes.io/restartedAt"
    live["spec"]["template"]["metadata"]["annotations"][name] = "now"
    fields: Json = {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}
    _edited_by(live, {"f:spec": {"f:template": fields}})
    assert removals(manifest, live) == ()


def test_slashes_and_tildes_in_names_are_escaped(manifest: Json, live: Json) -> None:
    live["spec"]["template"]["metadata"]["labels"]["a/b~c"] = "x"
    fields: Json = {"f:metadata": {"f:labels": {"f:a/b~c": {}}}}
    _edited_by(live, {"f:spec": {"f:template": fields}})
    paths = [op["path"] for op in removals(manifest, live)]
    assert paths[1] == "/spec/template/metadata/labels/a~1b~0c"


def test_a_value_of_a_set_and_what_is_gone_already(manifest: Json, live: Json) -> None:
    live["spec"]["template"]["spec"]["extra"] = ["a", "b"]
    sets: Json = {"f:template": {"f:spec": {"f:extra": {'v:"b"': {}, 'v:"gone"': {}}}}}
    _edited_by(live, {"f:spec": {**sets, "f:absent": {}}})
    # Ours has no such field at all: the outermost foreign one goes.
    assert [op["path"] for op in removals(manifest, live)[1:]] == ["/spec/template/spec/extra"]


def test_leaves_of_a_field_set() -> None:
    fields: Json = {"f:a": {"f:b": {}, ".": {}}, "f:c": {'k:{"n":1}': {".": {}, "f:d": {}}}}
    assert list(leaves(fields)) == [
        (("f", "a"), ("f", "b")),
        (("f", "c"), ("k", {"n": 1})),
        (("f", "c"), ("k", {"n": 1}), ("f", "d")),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1000m"), ("0.5", "500m"), (1, "1"), ("1Gi", "1024Mi"), ("1E", "1000P"), ("1k", 1000)],
)
def test_the_same_amount_in_other_words(one: str | int, other: str | int) -> None:
    assert same_quantity(one, other)


@pytest.mark.parametrize("text", ["", "one", "1Q", "1 Gi", "m"])
def test_what_is_no_amount(text: str) -> None:
    assert quantity(text) is None
    assert not same_quantity(text, text)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"manager": "kubectl", "subresource": "scale"}, "kubectl through scale"),
        ({"manager": "kube-controller-manager", "subresource": "scale"}, SCALER),
        ({"manager": "flux"}, "flux"),
        ({"manager": MANAGER}, None),
    ],
)
def test_the_writer_of_a_field_is_named(entry: Json, name: str | None) -> None:
    fields: Json = {"f:spec": {"f:replicas": {}}}
    ours = {"manager": MANAGER, "fieldsV1": {"f:spec": {"f:paused": {}}}}
    entries = [ours, {**entry, "fieldsV1": fields}]
    assert writer(entries, MANAGER, (("f", "spec"), ("f", "replicas"))) == name


def test_the_writer_of_a_field_in_a_list_is_found_by_the_items_key() -> None:
    inside: Json = {"f:image": {}}
    fields = {"f:containers": {'k:{"name":"sender"}': inside, 'k:{"name":"other"}': {}}}
    entries = [{"manager": "argocd", "fieldsV1": fields}]
    path = (("f", "containers"), ("k", {"name": "sender"}), ("f", "image"))
    assert writer(entries, MANAGER, path) == "argocd"
    assert writer(entries, MANAGER, (*path[:2], ("f", "args"))) is None
    assert in_words(path) == "containers[sender].image"
