"""Mails that need no decision: sent without a task of their own and without waiting.

Most mails are new, wanted, and accepted by the relay at once. They are started in the turn of the
loop that reads them, and ended in the one that stores their outcome. A result that needs a decision
goes to `Delivery`, in a task that uses the same queue, relays, batches and log lines.
"""

from collections.abc import Callable

from mailtopic_contract import KeyRing, MailRecord, open_variables
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.templates import TemplateError
from mailtopic_sender.engine.endings import Endings
from mailtopic_sender.engine.in_hand import MailsInHand
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.usefulness import Usefulness
from mailtopic_sender.mail_ports import DeliveryResult, Mailer, OutgoingMail

Ended = Callable[[bool, DeliveryResult | None], None]
"""Called with True when a mail's outcome is stored, else when it needs a decision: about its
result, or, without one, because it is no longer wanted."""


class Dispatch:
    """The ticket of a mail without a task, and the delivery to record."""

    __slots__ = ("_express", "_lease", "ended", "incoming", "mail", "result", "seconds")

    def __init__(
        self, express: "Express", incoming: Incoming, mail: MailRecord, lease: Lease, ended: Ended
    ) -> None:
        self._express = express
        self._lease = lease
        self.incoming = incoming
        self.mail = mail
        self.ended = ended
        self.result: DeliveryResult
        self.seconds = 0.0

    def is_wanted(self) -> bool:
        """See `Ticket.is_wanted`."""
        return not self._lease.is_over and self._express.is_of_use(self.mail)

    def told(self, result: DeliveryResult | None) -> None:
        """See `Ticket.told`."""
        self._express.told(self, result)

    def stored(self) -> None:
        """See `Delivered.stored`."""
        self._express.stored(self)


class Express:
    """Starts mails that only need to be sent.

    A started mail holds its place in `MailsInHand` until its outcome is stored, or until the task
    that continues it has released it.
    """

    def __init__(
        self,
        mailer: Mailer,
        endings: Endings,
        *,
        ledger: Ledger,
        usefulness: Usefulness,
        in_hand: MailsInHand,
        keyring: KeyRing | None,
        refusals: RefusalGate,
        teller: Teller,
    ) -> None:
        self._mailer = mailer
        self._endings = endings
        self._ledger = ledger
        self._usefulness = usefulness
        self._in_hand = in_hand
        self._keyring = keyring
        self._refusals = refusals
        self._teller = teller

    def begin(self, incoming: Incoming, lease: Lease, ended: Ended) -> bool:
        """Start a mail; returns False, having done nothing, if it needs a decision first.

        `ended` is called once, after this has returned. If it reports the record as not done, the
        caller must continue it: see `Delivery.go_on`.
        """
        mail = incoming.mail
        if mail is None or not self._is_plain(incoming, mail) or not self._in_hand.take(mail.id):
            return False
        try:
            self._mailer.offer(
                outgoing_mail(mail, self._keyring),
                Dispatch(self, incoming, mail, lease, ended),
                is_fresh=incoming.attempt == 1,
            )
        except Exception:  # noqa: BLE001 - `Delivery` meets the same error, and handles it
            self._in_hand.release(mail.id)
            return False
        return True

    def is_of_use(self, mail: MailRecord) -> bool:
        """Whether a mail is still worth sending and may be sent now."""
        return self._refusals.is_open and self._usefulness.why_not(mail) is None

    def told(self, dispatch: Dispatch, result: DeliveryResult | None) -> None:
        """Record a delivery, or hand the mail over."""
        if result is None:
            dispatch.ended(False, None)
            return
        result = self._teller.attempted(dispatch.incoming, result)
        if result.reply_class is not ReplyClass.ACCEPTED:
            dispatch.ended(False, result)
            return
        self._refusals.accepted(result)
        dispatch.result = result
        dispatch.seconds = self._teller.delivered(dispatch.mail)
        self._endings.batches.add(dispatch)

    def stored(self, dispatch: Dispatch) -> None:
        """End a mail after its delivery is stored."""
        self._endings.stored(dispatch.incoming, dispatch.mail, dispatch.result, dispatch.seconds)
        self._in_hand.release(dispatch.mail.id)
        dispatch.ended(True, None)

    def _is_plain(self, incoming: Incoming, mail: MailRecord) -> bool:
        return (
            self._refusals.is_open
            and self._mailer.is_available
            and incoming.headers.outcomes_from is None
            and not self._ledger.knows(mail.id)
            and not self._teller.is_recorded(incoming)
        )


def outgoing_mail(mail: MailRecord, keyring: KeyRing | None) -> OutgoingMail:
    """Return a record's mail with its variables unsealed.

    Raises:
        SealingError: they can't be unsealed.
        TemplateError: the code among them is empty, so the mail would be useless.
    """
    variables = open_variables(mail, keyring)
    if not variables.get("code", "-").strip():
        raise TemplateError("the variable code is empty")
    return OutgoingMail(
        mail_id=mail.id,
        recipient=mail.address,
        purpose=mail.purpose,
        locale=mail.locale,
        variables=variables,
        accepted_at_ms=mail.accepted_at,
        expires_at_ms=mail.expires_at,
    )
