"""Errors of the contract.

The tree::

    ContractError(ValueError)
    ├── RecordError            a record can't be understood; .reason is a short stable code
    │   ├── BadAddress         ... because of its address
    │   └── HeaderError        ... because of an mt-* header
    ├── SealingError           sealed variables can't be opened
    └── KeyRingError           a key file can't be used

No error's text ever quotes its input: records hold addresses and codes.
"""


class ContractError(ValueError):
    """Any violation of the contract. Its text is one line and quotes no input."""


class RecordError(ContractError):
    """A record that can't be decoded, however often it is tried: it belongs in the DLQ.

    Attributes:
        reason: a short stable code: ``empty``, ``too-large``, ``bad-json``, ``unknown-version``,
            ``bad-field``, ``bad-address``, ``bad-header``, ``bad-record`` or ``bad-batch``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadAddress(RecordError):  # noqa: N818 - reads as what it is, like RecordError's reasons
    """A text that isn't an e-mail address (RFC 5321 §4.1.2, RFC 6531 for non-ASCII ones)."""

    def __init__(self, message: str) -> None:
        super().__init__("bad-address", message)


class HeaderError(RecordError):
    """An ``mt-*`` header that doesn't follow the contract."""

    def __init__(self, message: str) -> None:
        super().__init__("bad-header", message)


class SealingError(ContractError):
    """Sealed variables can't be unsealed: the key is missing, or the mail was changed."""


class KeyRingError(ContractError):
    """A key file can't be read or holds no usable key."""
