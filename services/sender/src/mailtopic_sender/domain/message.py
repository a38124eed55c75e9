"""A mail → the bytes of its message: fast (microseconds) and deterministic.

``multipart/alternative``, text first, then HTML (RFC 2046 §5.1.4), both in quoted-printable: so
every line is short ASCII, none begins with a dot, and no relay needs 8BITMIME. The parts that mails
of a template share are encoded once. EmailMessage would do the same at a thousand times the cost
(2.6 ms a mail).
"""

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from mailtopic_contract import Address
from mailtopic_sender.domain.dkim import DkimSigner
from mailtopic_sender.domain.envelope import EnvelopeError, checked_envelope
from mailtopic_sender.domain.header_fields import encode_unstructured, from_value, to_value
from mailtopic_sender.domain.templates import CompiledTemplate, TemplateError, TemplateSet

_BEFORE_TEXT, _BEFORE_HTML = (
    b"\r\nContent-Type: text/" + kind + b"; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    for kind in (b"plain", b"html")
)
# Quoted-printable never holds "=_" (RFC 2045 §6.7 recommends it for boundaries).
_BEFORE_BOUNDARY: Final = b'>\r\nContent-Type: multipart/alternative;\r\n boundary="=_'
_NEXT_PART: Final = b"\r\n--=_"


class Message(NamedTuple):
    """A message and its envelope, ready to be sent: no line of it begins with a dot.

    Attributes:
        envelope_from: the sender's address for MAIL FROM, ASCII.
        envelope_to: the only recipient's address for RCPT TO, UTF-8.
        content: the whole message, every line ended by CRLF.
        needs_smtputf8: whether recipient and header hold UTF-8 (RFC 6531, RFC 6532).
    """

    envelope_from: bytes
    envelope_to: bytes
    content: bytes
    needs_smtputf8: bool

    @property
    def sender(self) -> str:
        """The envelope's sender."""
        return self.envelope_from.decode()

    @property
    def recipient(self) -> str:
        """The envelope's only recipient."""
        return self.envelope_to.decode()

    def __repr__(self) -> str:
        return f"Message(from {self.sender}, {len(self.content)} octets)"


class MessageComposer:
    """Renders mails of one sender. Immutable, pure."""

    def __init__(
        self,
        templates: TemplateSet,
        *,
        from_name: str,
        from_address: Address,
        signer: DkimSigner | None = None,
    ) -> None:
        """Prepare the parts that all mails share.

        Args:
            templates: the texts.
            from_name: the sender's name that readers see.
            from_address: the sender in header and envelope.
            signer: signs each message with DKIM; None for no signature.

        Raises:
            EnvelopeError: from_address can't be an envelope sender, or isn't ASCII: then no relay
                without SMTPUTF8 would accept any mail.
        """
        if from_address.needs_smtputf8:
            raise EnvelopeError("the sender's address must be ASCII before the @")
        self._templates = templates
        self._sender = checked_envelope(from_address)
        self._from = b"From: " + from_value(from_name, self._sender)
        self._before_boundary = b"@" + from_address.domain.encode() + _BEFORE_BOUNDARY
        self._signer = signer
        self._heads: dict[int, bytes] = {}

    def compose(
        self,
        *,
        mail_id: UUID,
        recipient: Address,
        purpose: str,
        locale: str,
        variables: Mapping[str, str],
        accepted_at_ms: int,
    ) -> Message:
        """Return the message of a mail: a function of its arguments only.

        Raises:
            TemplateError: a variable is missing, accepted_at_ms isn't a valid time, or
                (EnvelopeError) the recipient can't be written safely.
        """
        mailbox = checked_envelope(recipient)
        template = self._templates.select(purpose, locale)
        ident = str(mail_id).encode()
        content = b"".join(
            (
                self._heads.get(id(template)) or self._head(template, variables),
                to_value(mailbox),
                b"\r\nDate: ",
                _date(accepted_at_ms // 1000),
                b"\r\nMessage-ID: <",
                ident,
                self._before_boundary,
                ident,
                b'"\r\n\r\n--=_',
                ident,
                _BEFORE_TEXT,
                template.text.fill(variables),
                _NEXT_PART,
                ident,
                _BEFORE_HTML,
                template.html.fill(variables),
                _NEXT_PART,
                ident,
                b"--\r\n",
            )
        )
        if self._signer is not None:
            header, _, body = content.partition(b"\r\n\r\n")
            signature = self._signer.sign(header, body, signed_at_s=accepted_at_ms // 1000)
            content = signature + content
        return Message(self._sender, mailbox, content, not mailbox.isascii())

    def _head(self, template: CompiledTemplate, variables: Mapping[str, str]) -> bytes:
        """Return everything before the recipient; cached unless the subject has variables."""
        subject = encode_unstructured(template.subject.fill(variables), used=len("Subject: "))
        language = encode_unstructured(template.locale, used=len("Content-Language: "))
        head = b"".join(
            (
                self._from,
                b"\r\nSubject: ",
                subject,
                b"\r\nMIME-Version: 1.0\r\nContent-Language: ",
                language,
                b"\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nTo: ",
            )
        )
        if not template.subject.names:
            # The template set keeps its templates alive, so their ids aren't reused.
            self._heads[id(template)] = head
        return head


@lru_cache(maxsize=256)
def _date(second: int) -> bytes:
    """Format a date by RFC 5322 §3.3, in UTC; mails come in time order, so most share a second."""
    try:
        return formatdate(second).encode()
    except (OverflowError, OSError, ValueError):
        raise TemplateError("the time of acceptance is out of range") from None
