"""The short way of a mail about which there is nothing to decide: no task of its own, no waiting.

Most mails are new, wanted, and taken by the relay at once. They are begun in the turn of the loop
that reads them, and ended in the one that stores their outcome. Whatever turns out otherwise goes
on by the long way (`Delivery`), which makes every decision there is.
"""

from collections.abc import Callable, Sequence

from mailtopic_contract import KeyRing, MailRecord, SealingError, open_variables
from mailtopic_runtime import Clock
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.templates import TemplateError
from mailtopic_sender.engine.batches import DeliveryBatches
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.in_hand import MailsInHand
from mailtopic_sender.engine.incoming import Incoming, NewestCodes
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.mail_ports import DeliveryResult, Mailer, OutgoingMail

Ended = Callable[[bool, DeliveryResult | None], None]
"""Hears that a mail's outcome is stored (True), or that it has to go on by the long way: with the
result that it has got, or with none if it has not been sent."""


class Dispatch:
    """A mail on the short way: what the mailer asks and tells about it, and what is recorded."""

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
        """See `Offeror.is_wanted`."""
        return not self._lease.is_over and self._express.is_due(self.mail)

    def told(self, result: DeliveryResult | None) -> None:
        """See `Offeror.told`."""
        self._express.told(self, result)


class Express:
    """Begins mails that need nothing but to be sent, and tells when their outcome is stored.

    What it has begun holds its place in `MailsInHand` and counts as under way in the `FloodGate`
    until its outcome is stored, or until whoever goes on with it has let go of both.
    """

    def __init__(
        self,
        mailer: Mailer,
        recorder: Recorder,
        *,
        ledger: Ledger,
        newest: NewestCodes,
        in_hand: MailsInHand,
        keyring: KeyRing | None,
        flood: FloodGate,
        refusals: RefusalGate,
        teller: Teller,
        clock: Clock,
    ) -> None:
        self._mailer = mailer
        self._batches: DeliveryBatches[Dispatch] = DeliveryBatches(recorder, self._stored)
        self._ledger = ledger
        self._newest = newest
        self._in_hand = in_hand
        self._keyring = keyring
        self._flood = flood
        self._refusals = refusals
        self._teller = teller
        self._clock = clock

    def begin(self, incoming: Incoming, lease: Lease, ended: Ended) -> bool:
        """Begin a mail; returns False, having done nothing, if it must go the long way.

        `ended` is called once, after this has returned.
        """
        mail = incoming.mail
        if mail is None or not self._is_plain(incoming, mail) or not self._in_hand.take(mail.id):
            return False
        is_begun = False
        try:
            is_begun = self._mailer.offer(
                outgoing_mail(mail, self._keyring), Dispatch(self, incoming, mail, lease, ended)
            )
        except (SealingError, TemplateError):
            pass  # the long way meets the same error, and knows what to do
        finally:
            if is_begun:
                self._flood.begin()
            else:
                self._in_hand.release(mail.id)
        return is_begun

    def is_due(self, mail: MailRecord) -> bool:
        """Whether a mail is still of use, and needn't wait."""
        return (
            self._refusals.is_open
            and self._clock.now_ms() < mail.expires_at
            and not self._newest.supersedes(mail)
        )

    def told(self, dispatch: Dispatch, result: DeliveryResult | None) -> None:
        """Go on with what the mailer has told."""
        if result is None or not result.is_final:
            dispatch.ended(False, result)
            return
        result = self._teller.attempted(dispatch.incoming, result)
        if result.reply_class is not ReplyClass.ACCEPTED:
            dispatch.ended(False, result)
            return
        self._refusals.accepted(result)
        dispatch.result = result
        dispatch.seconds = (self._clock.now_ms() - dispatch.mail.accepted_at) / 1000
        self._teller.delivered(dispatch.seconds)
        self._batches.add(dispatch)

    def close(self) -> None:
        """Stop recording."""
        self._batches.close()

    def _is_plain(self, incoming: Incoming, mail: MailRecord) -> bool:
        return (
            self._refusals.is_open
            and incoming.headers.outcomes_from is None
            and not self._teller.is_tracing
            and not self._ledger.knows(mail.id)
        )

    def _stored(self, batch: Sequence[Dispatch]) -> None:
        self._flood.went_on(len(batch))
        for each in batch:
            self._teller.accepted(each.incoming, each.mail, each.result, each.seconds)
            self._flood.end()
            self._in_hand.release(each.mail.id)
            each.ended(True, None)


def outgoing_mail(mail: MailRecord, keyring: KeyRing | None) -> OutgoingMail:
    """Return a record's mail with its variables opened.

    Raises:
        SealingError: they can't be opened.
        TemplateError: the code among them is empty, so the mail would say nothing.
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
