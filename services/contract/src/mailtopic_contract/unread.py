"""Headers of a dead letter that differs from its record's key, value and headers.

They accompany ``mt-origin-*``, in ASCII like all our headers.
"""

from collections.abc import Sequence
from typing import NamedTuple

UNREAD_FORM = "mt-unread-form"
UNREAD_OFFSETS = "mt-unread-offsets"
UNREAD_BYTES = "mt-unread-bytes"
UNREAD_SHA256 = "mt-unread-sha256"
UNREAD_NAME = "mt-unread-name"


class Unread(NamedTuple):
    r"""The parts of a record that a dead letter can't hold unchanged, and their replacement.

    Attributes:
        form: the form of the letter's value: ``batch`` and ``record`` are bytes as Kafka stores
            them (a record batch; a record after its length), ``none`` is empty, because it was too
            large, ``value`` is the record's own value.
        first_offset: the first offset that the letter represents.
        last_offset: the last one.
        stored_bytes: size of the digest's input; None without a digest.
        digest: SHA-256 in hex of the stored bytes; for ``none``, of the record's value.
        raw_names: the header names that aren't UTF-8, in the order of the letter's headers, which
            show them with ``\xNN`` for each byte that isn't.
    """

    form: str
    first_offset: int
    last_offset: int
    stored_bytes: int | None = None
    digest: str | None = None
    raw_names: Sequence[bytes] = ()

    def encode(self) -> list[tuple[str, bytes]]:
        """Return the headers; one ``mt-unread-name`` in hex for each raw name."""
        texts = [(UNREAD_FORM, self.form)]
        texts.append((UNREAD_OFFSETS, f"{self.first_offset}-{self.last_offset}"))
        if self.stored_bytes is not None:
            texts.append((UNREAD_BYTES, str(self.stored_bytes)))
        if self.digest is not None:
            texts.append((UNREAD_SHA256, self.digest))
        texts += [(UNREAD_NAME, raw.hex()) for raw in self.raw_names]
        return [(name, text.encode("ascii")) for name, text in texts]
