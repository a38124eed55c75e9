"""One resource on its way through a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailtopic_operator.domain.actions import (
    Action,
    AddFinalizer,
    ClaimKafkaUser,
    ClaimTopics,
    Plan,
    side,
    target,
)
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.replays import DesiredReplay
from mailtopic_operator.engine.store import Key

_FIRST: Final = (AddFinalizer, ClaimTopics, ClaimKafkaUser)
"""If one of these fails, nothing else of a plan is done."""

Wanted = Desired | DesiredReplay
"""What one of the operator's own resources asks for."""


@dataclass(slots=True)
class Work:
    """A resource, what it asks for, and what is left to do about it.

    Attributes:
        body: the resource as it was last seen.
        desired: None if the body can't be parsed.
        todo: what is left of the plan's actions.
        done: the actions that were carried out.
        failed: targets of the actions that failed in this pass.
    """

    key: Key
    body: Mapping[str, Any]
    desired: Wanted | None
    plan: Plan = field(default_factory=Plan)
    todo: list[Action] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    is_changed: bool = False

    def begin(self, plan: Plan) -> None:
        """Start a plan; what has failed in this pass isn't tried again before the next one."""
        self.plan = plan
        self.todo = [action for action in plan.actions if target(action) not in self.failed]
        self.done = []
        if any(isinstance(a, _FIRST) and target(a) in self.failed for a in plan.actions):
            self.todo = []

    def take_run(self, kind: type[Action]) -> list[Action]:
        """Take the leading actions of this kind from the rest."""
        run: list[Action] = []
        while self.todo and type(self.todo[0]) is kind:
            run.append(self.todo.pop(0))
        return run

    def succeed(self, action: Action) -> None:
        """Note that an action was carried out."""
        self.done.append(action)
        self.is_changed = True

    def fail(self, action: Action) -> None:
        """Note that an action failed, and drop those that can't be tried after it."""
        name, where = target(action), side(action)
        self.failed.add(name)
        if isinstance(action, _FIRST):
            # Nothing may be created that would never be removed.
            self.todo.clear()
            return
        self.todo = [
            later for later in self.todo if not (side(later) is where and target(later) == name)
        ]

    @property
    def is_settled(self) -> bool:
        """Whether this generation was reported before: a difference now was edited by hand."""
        desired = self.desired
        return desired is not None and desired.status.observed_generation == desired.meta.generation
