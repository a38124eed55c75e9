"""What a mail costs to compose: unsigned, signed by Ed25519, by RSA, by both.

``PYTHONPATH=tests .venv/bin/python -m benchmarks.message_cost`` prints µs of CPU a mail, the
least of five rounds in alternating order.
"""

import time
import uuid
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailtopic_contract import Address, parse_address
from mailtopic_sender.domain.dkim import DkimKey, DkimSigner
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import TemplateSet
from support.dkim_keys import DOMAIN, pem, rsa_key

ROUNDS = 5
MAILS: Mapping[str, int] = {"unsigned": 20_000, "ed25519": 2_000, "rsa2048": 400, "both": 400}


def composers() -> dict[str, MessageComposer]:
    ed25519 = DkimKey.from_pem("e1", pem(Ed25519PrivateKey.generate()))
    rsa = DkimKey.from_pem("r1", pem(rsa_key(2048)))
    keys: Mapping[str, Sequence[DkimKey]] = {
        "unsigned": (),
        "ed25519": (ed25519,),
        "rsa2048": (rsa,),
        "both": (rsa, ed25519),
    }
    return {
        name: MessageComposer(
            TemplateSet(),
            from_name="MailTopic",
            from_address=parse_address(f"no-reply@{DOMAIN}"),
            signer=DkimSigner(DOMAIN, signing) if signing else None,
        )
        for name, signing in keys.items()
    }


def round_us(composer: MessageComposer, mails: Sequence[tuple[uuid.UUID, Address]]) -> float:
    """CPU microseconds a mail."""
    began = time.process_time()
    for mail_id, recipient in mails:
        composer.compose(
            mail_id=mail_id,
            recipient=recipient,
            purpose="signup",
            locale="ru",
            variables={"code": "123456"},
            accepted_at_ms=1_790_000_000_000,
        )
    return (time.process_time() - began) / len(mails) * 1e6


def main() -> None:
    mails = [
        (uuid.uuid4(), parse_address(f"user{number}@example.org"))
        for number in range(max(MAILS.values()))
    ]
    rounds: dict[str, list[float]] = {name: [] for name in MAILS}
    for number in range(ROUNDS):
        order = list(composers().items())
        for name, composer in order[:: -1 if number % 2 else 1]:
            rounds[name].append(round_us(composer, mails[: MAILS[name]]))
    for name, found in rounds.items():
        print(f"{name:10} {min(found):8.1f} µs a mail")  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
