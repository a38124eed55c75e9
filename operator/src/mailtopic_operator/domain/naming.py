"""Which topic names the operator's settings allow a MailTopic."""

from mailtopic_operator.domain.desired import Desired

ANY = "*"


def name_problem(desired: Desired) -> str | None:
    """Return why the MailTopic may not use its topic names, and what to do; None if it may.

    Topics are named after the main one, so its name decides for all. Without prefixes in the
    settings, a MailTopic keeps the topics that it already has.
    """
    main, namespace = desired.names.main, desired.meta.namespace
    border = desired.defaults.border
    prefixes = border.prefixes(namespace)
    if prefixes is not None:
        if any(each == ANY or main.startswith(each) for each in prefixes):
            return None
        begin = " or ".join(prefixes) or "nothing"
        return (
            f"topic {main}: names of topics in namespace {namespace} begin with {begin}"
            " (operator.topics.prefixes): make a MailTopic with such a name"
        )
    is_own = main == namespace or main.startswith(f"{namespace}.")
    if not border.is_shared or is_own or main in desired.held_topics:
        return None
    return (
        f"topic {main}: an operator of several namespaces wants names that begin with {namespace}."
        " there: make a MailTopic with such a name, or name prefixes in operator.topics.prefixes"
    )


def may_adopt(desired: Desired) -> bool:
    """Whether existing topics may be adopted, by the spec and by the settings."""
    prefixes = desired.defaults.border.prefixes(desired.meta.namespace)
    return desired.spec.topic.adopt and prefixes is not None and name_problem(desired) is None
