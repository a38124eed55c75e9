"""Takes back bounces that turned out not to concern the recipient."""

from mailtopic_contract import ErrorInfo, Outcome, RetryTier
from mailtopic_runtime import Clock
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller


class WrongBounces:
    """Hands mails that this process wrongly recorded as bounced to a retry topic.

    It covers the last hundred bounces of this process; those of another process, or of this one
    before a restart, stay unchanged.
    """

    def __init__(
        self,
        refusals: RefusalGate,
        recorder: Recorder,
        *,
        tier: RetryTier,
        teller: Teller,
        clock: Clock,
    ) -> None:
        """Start with nothing to take back; mails go to the given tier."""
        self._refusals = refusals
        self._recorder = recorder
        self._tier = tier
        self._teller = teller
        self._clock = clock

    async def take_back(self) -> None:
        """Correct all bounces known to be wrong; returns when the broker has stored that."""
        for incoming, refused in self._refusals.wrong_bounces():
            result = refused._replace(reply_class=ReplyClass.SENDER)
            await self._recorder.take_back(
                incoming,
                tier=self._tier,
                not_before_ms=self._clock.now_ms() + self._tier.delay_ms,
                error=ErrorInfo(result.reply_class.value, "Reply", result.detail, result.smtp),
                result=result,
            )
            self._teller.ended(
                incoming, Outcome.DEFERRED, result, tier=self._tier.name, taken_back="yes"
            )
