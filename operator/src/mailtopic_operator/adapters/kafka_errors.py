"""What Kafka's errors mean for the operator."""

import concurrent.futures
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind

_KINDS: Final = {
    ProblemKind.MISSING: (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - a documented code of librdkafka
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.RESOURCE_NOT_FOUND,
    ),
    ProblemKind.EXISTS: (KafkaError.TOPIC_ALREADY_EXISTS,),
    ProblemKind.NOT_AUTHORISED: (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the same
    ),
    ProblemKind.NOT_SUPPORTED: (
        KafkaError.TOPIC_DELETION_DISABLED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001 - the same
    ),
    ProblemKind.POLICY: (KafkaError.POLICY_VIOLATION,),
    ProblemKind.NO_AUTHORIZER: (KafkaError.SECURITY_DISABLED,),
    ProblemKind.INVALID: (
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REPLICA_ASSIGNMENT,
        KafkaError.INVALID_REQUEST,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNACCEPTABLE_CREDENTIAL,
        KafkaError._INVALID_ARG,  # noqa: SLF001 - the same
    ),
}
_KIND_OF: Final = {code: kind for kind, codes in _KINDS.items() for code in codes}


def problem_of(error: Exception) -> KafkaProblem:
    """Return what an admin request's error means; an unknown one counts as temporary."""
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else None
    if not isinstance(cause, KafkaError):
        if isinstance(error, concurrent.futures.TimeoutError | TimeoutError):
            return KafkaProblem(ProblemKind.UNAVAILABLE, "Kafka doesn't answer in time")
        return KafkaProblem(ProblemKind.UNAVAILABLE, type(error).__name__)
    kind = _KIND_OF.get(cause.code(), ProblemKind.UNAVAILABLE)
    return KafkaProblem(kind, " ".join(cause.str().split())[:500])
