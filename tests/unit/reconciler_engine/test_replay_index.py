"""Which MailReplays are looked at again when something changes."""

from typing import Any

from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.store import Key, owner_of
from mailtopic_operator.kinds import JOB, MAIL_REPLAY, OPTIONAL_KINDS, watched_kinds

TOPIC = Key("MailTopic", "shop", "mails")


def replay(name: str, namespace: str = "shop") -> Key:
    return Key("MailReplay", namespace, name)


def body(topic: str) -> dict[str, Any]:
    return {"spec": {"mailTopicRef": {"name": topic}}}


def test_replays_are_found_by_their_mailtopic_and_by_each_other() -> None:
    index = ReplayIndex()
    assert index.put(replay("a"), body("mails")) == set()
    assert index.put(replay("b"), body("mails")) == {replay("a")}
    index.put(replay("c"), body("others"))
    index.put(replay("a", "forum"), body("mails"))
    assert index.concerned(TOPIC) == {replay("a"), replay("b")}
    assert index.concerned(replay("b")) == {replay("a")}
    assert index.concerned(replay("unheard-of")) == set()


def test_what_a_deleted_replay_held_up_is_looked_at() -> None:
    index = ReplayIndex()
    for name in ("a", "b"):
        index.put(replay(name), body("mails"))
    assert index.put(replay("a"), None) == {replay("b")}
    assert index.of(TOPIC) == {replay("b")}
    assert index.put(replay("a"), None) == set()
    assert index.put(replay("b"), None) == set()
    assert index.of(TOPIC) == set()


def test_a_replay_without_a_name_is_nobodys() -> None:
    index = ReplayIndex()
    assert index.put(replay("a"), {"spec": {}}) == set()
    assert index.put(replay("a"), {}) == set()


def test_a_child_belongs_to_its_controller_and_else_to_what_its_label_says() -> None:
    owner = {"kind": "MailReplay", "name": "a", "uid": "u", "controller": True}
    labels = {"mailtopic.dev/mailtopic": "mails"}
    metadata: dict[str, Any] = {"namespace": "shop", "labels": labels, "ownerReferences": [owner]}
    assert owner_of({"metadata": metadata}) == replay("a")
    del metadata["ownerReferences"]
    assert owner_of({"metadata": metadata}) == TOPIC
    metadata["labels"] = {}
    assert owner_of({"metadata": metadata}) is None


def test_jobs_are_watched_only_where_there_are_replays() -> None:
    assert MAIL_REPLAY.kind in OPTIONAL_KINDS
    without = watched_kinds(frozenset())
    assert not {JOB, MAIL_REPLAY} & set(without)
    assert set(watched_kinds({"MailReplay"})) - set(without) == {JOB, MAIL_REPLAY}
