"""Until when a mail that waits for a relay may still be begun."""

from collections.abc import Callable

from mailtopic_sender.engine.lease import Lease


class MailPermit:
    """Holds as long as the partition is ours and nobody has asked for a newer mail.

    What has been handed to a relay is finished all the same: that is the mailer's promise.
    """

    def __init__(self, lease: Lease, *, is_wanted: Callable[[], bool]) -> None:
        """Start; is_wanted says whether no newer mail has made this one pointless."""
        self._lease = lease
        self._is_wanted = is_wanted

    @property
    def holds(self) -> bool:
        """Whether the mail may be offered to a relay now."""
        return not self._lease.is_over and self._is_wanted()

    async def ended(self) -> None:
        """Return when the lease ends."""
        await self._lease.ended()
