"""Carries out what is planned about users in Kafka; a password is only here and in a Secret."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mailtopic_operator.domain.actions import (
    Action,
    DropKafkaUser,
    DropPassword,
    MakePassword,
    SetAcls,
    SetKafkaUser,
    target,
)
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.observed import data_object
from mailtopic_operator.domain.users import iterations_of
from mailtopic_operator.errors import KubeConflict, KubeError, KubeForbidden, KubeNotFound
from mailtopic_operator.ports import Answers, KafkaUsers, Objects

Json = dict[str, Any]

_BYTES: Final = 32
_TEST: Final = "/metadata/resourceVersion"


class UserKeeper:
    """Users in Kafka, and the Secrets with their passwords.

    Args:
        users: Kafka's users; None if they aren't managed.
        objects: reads and writes Secrets.
    """

    def __init__(self, users: KafkaUsers | None, objects: Objects) -> None:
        self._users = users
        self._objects = objects

    async def make_password(self, action: MakePassword) -> None:
        """Make a password under a key, unless there is one.

        Raises:
            KubeError: the API server refused, or the Secret isn't the MailTopic's.
        """
        manifest = dict(action.manifest)
        meta = manifest["metadata"]
        value = base64.b64encode(secrets.token_urlsafe(_BYTES).encode()).decode()
        try:
            live = await self._objects.read("Secret", meta["namespace"], meta["name"])
        except KubeNotFound:
            # Without force: an object that was created meanwhile isn't taken over.
            await self._objects.apply(
                "Secret", {**manifest, "data": {action.key: value}}, force=False
            )
            return
        owner = data_object("Secret", live).owner
        if owner != meta["ownerReferences"][0]["uid"]:
            raise KubeForbidden(f"Secret {meta['name']} is there already and isn't ours")
        if action.key in (live.get("data") or {}):
            return
        await self._patch(live, _added(live, action.key, value))

    async def drop_password(self, namespace: str, action: DropPassword) -> None:
        """Remove a key; an absent one is a success.

        Raises:
            KubeError: the API server refused.
        """
        try:
            live = await self._objects.read("Secret", namespace, action.secret)
        except KubeNotFound:
            return
        if action.key in (live.get("data") or {}):
            await self._patch(live, {"op": "remove", "path": f"/data/{action.key}"})

    async def carry_out(self, actions: Sequence[Action]) -> Answers:
        """Carry out actions of one type in Kafka; the answers are by `actions.target`."""
        answers: dict[str, KafkaProblem | None] = {}
        if self._users is None:
            raise AssertionError("nothing is planned about users that aren't managed")
        sets = [action for action in actions if isinstance(action, SetKafkaUser)]
        answers |= await self._set(self._users, sets)
        acls = [action for action in actions if isinstance(action, SetAcls)]
        answers |= await _set_acls(self._users, acls)
        dropped = {each.user: each for each in actions if isinstance(each, DropKafkaUser)}
        if dropped:
            found = await self._users.drop(dropped)
            answers |= {target(action): found[user] for user, action in dropped.items()}
        return answers

    async def _set(self, users: KafkaUsers, actions: Sequence[SetKafkaUser]) -> Answers:
        answers: dict[str, KafkaProblem | None] = {}
        passwords: dict[str, tuple[bytes, int]] = {}
        for action in actions:
            try:
                live = await self._objects.read("Secret", action.namespace, action.secret)
                password = base64.b64decode(live["data"][action.key])
                version = data_object("Secret", live).versions[action.key]
                passwords[action.user] = (password, iterations_of(version))
            except (KubeError, KeyError, ValueError) as error:
                said = str(error) if isinstance(error, KubeError) else "the password can't be read"
                answers[target(action)] = KafkaProblem(ProblemKind.UNAVAILABLE, said)
        if passwords:
            found = await users.set_passwords(passwords)
            of = {action.user: target(action) for action in actions}
            answers |= {of[user]: problem for user, problem in found.items()}
        return answers

    async def _patch(self, live: Mapping[str, Any], *operations: Json) -> None:
        meta = live["metadata"]
        test = {"op": "test", "path": _TEST, "value": meta["resourceVersion"]}
        try:
            await self._objects.patch(
                "Secret", meta["namespace"], meta["name"], [test, *operations]
            )
        except (KubeConflict, KubeNotFound):
            return  # it was changed meanwhile: the next plan looks again


def _added(live: Mapping[str, Any], key: str, value: str) -> Json:
    if live.get("data"):
        return {"op": "add", "path": f"/data/{key}", "value": value}
    return {"op": "add", "path": "/data", "value": {key: value}}


async def _set_acls(users: KafkaUsers, actions: Sequence[SetAcls]) -> Answers:
    """Take away before more is given: a user never has more than both."""
    forbidden = {action.user: action.forbid for action in actions if action.forbid}
    allowed = {action.user: action.allow for action in actions if action.allow}
    answers = dict(await users.forbid(forbidden)) if forbidden else {}
    if allowed:
        for user, problem in (await users.allow(allowed)).items():
            answers[user] = answers.get(user) or problem
    return {target(action): answers.get(action.user) for action in actions}
