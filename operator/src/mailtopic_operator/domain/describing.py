"""Actions in words: for a dry run's plan, and for logs."""

from mailtopic_operator.domain.actions import (
    USER_ACTIONS,
    Action,
    AddFinalizer,
    AlterConfig,
    ApplyChild,
    ClaimTopics,
    CreateTopic,
    DeleteChild,
    DeleteTopic,
    IncreasePartitions,
    PruneChild,
    RemoveFinalizer,
)


def describe(action: Action) -> str:
    """Return what an action does, in one line."""
    return action.words if isinstance(action, USER_ACTIONS) else _describe(action)


def _describe(action: Action) -> str:
    match action:
        case AddFinalizer() | RemoveFinalizer():
            verb = "add" if isinstance(action, AddFinalizer) else "remove"
            words = f"{verb} the finalizer"
        case ClaimTopics(names):
            words = f"note in the status that it creates {len(names)} topics"
        case CreateTopic(topic):
            words = f"create topic {topic.name} with {topic.partitions} partitions"
        case IncreasePartitions(name, total):
            words = f"give topic {name} {total} partitions"
        case AlterConfig(change):
            parts = [f"{key}={value}" for key, value in sorted(change.set.items())]
            parts += [f"without {key}" for key in change.remove]
            words = f"configure topic {change.name}: {', '.join(parts)}"
        case DeleteTopic(name):
            words = f"delete topic {name} with everything in it"
        case ApplyChild():
            words = f"apply {action.ref} ({action.why})"
        case PruneChild(ref):
            words = f"take out of {ref} what others have put in"
        case DeleteChild(ref):
            words = f"delete {ref}"
    return words
