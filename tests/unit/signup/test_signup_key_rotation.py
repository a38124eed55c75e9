"""Keys are rotated while the service goes on."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mailtopic_contract import KeyRing, MailSeal, SealingError, open_variables
from mailtopic_runtime import SettingError
from mailtopic_signup.keys import Keys
from support.conditions import until
from support.signup_service import Signup

OLD, NEW = b"o" * 32, b"n" * 32


def write(file: Path | None, active: str, **keys: bytes) -> None:
    assert file
    encoded = {kid: base64.b64encode(key).decode() for kid, key in keys.items()}
    file.write_text(json.dumps({"active": active, "keys": encoded}))


def write_both(signup: Signup, active: str, **keys: bytes) -> None:
    for file in (signup.settings.pepper.keys_file, signup.settings.sealing.keys_file):
        write(file, active, **keys)


STEPS: list[Mapping[str, object]] = [
    {"active": "k1", "k1": OLD},
    {"active": "k1", "k1": OLD, "k2": NEW},
    {"active": "k2", "k1": OLD, "k2": NEW},
    {"active": "k2", "k2": NEW},
]


async def test_a_rotation_in_four_steps_refuses_nobody_at_any_moment(signup: Signup) -> None:
    sender = KeyRing(active="k1", keys={"k1": OLD, "k2": NEW})
    open_challenges: list[tuple[str, str]] = []
    for number, step in enumerate(STEPS):
        keys = {kid: key for kid, key in step.items() if isinstance(key, bytes)}
        write_both(signup, str(step["active"]), **keys)
        signup.parts.keys.reload()
        # Codes of the step before still work, as long as their key is there.
        for challenge, code in open_challenges:
            assert (await signup.verify(challenge, code)).status_code == 200
        challenge = await signup.begin(f"a{number}@example.com")
        mail = (await signup.mails())[-1]
        open_challenges = [(challenge, open_variables(mail, MailSeal(sender, "mails"))["code"])]
        signup.clock.advance(1)
    assert mail.sealed
    assert mail.sealed.kid == "k2"
    with pytest.raises(SealingError):
        open_variables(mail, MailSeal(KeyRing(active="k1", keys={"k1": OLD}), "mails"))


@pytest.mark.parametrize("name", ["pepper", "sealing"])
async def test_a_file_that_can_not_be_used_changes_nothing_until_it_can(
    signup: Signup, name: str
) -> None:
    keys = signup.parts.keys
    write_both(signup, "k1", k1=OLD)
    keys.reload()
    challenge = await signup.begin()
    before = repr(keys.peppers), repr(keys.mails.keyring)
    write_both(signup, "k2", k1=OLD, k2=NEW)
    getattr(signup.settings, name).keys_file.write_text("{")
    with pytest.raises(SettingError):
        keys.reload()
    assert (repr(keys.peppers), repr(keys.mails.keyring)) == before
    code = open_variables(
        (await signup.mails())[-1],
        MailSeal(KeyRing(active="k1", keys={"k1": OLD}), "mails"),
    )
    assert (await signup.verify(challenge, code["code"])).status_code == 200


async def test_a_changed_file_is_found_by_itself_and_told_without_the_key(
    signup: Signup, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    keys = Keys.load(signup.settings)
    keys.every_s = 0.01
    watching = asyncio.create_task(keys.watch())
    write_both(signup, "k2", k2=NEW)
    await until(lambda: "k2" in repr(keys.peppers), "the new pepper is there")
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    # Where a line goes depends on whether a test before has configured the logs.
    told = capsys.readouterr().out + caplog.text
    assert "keys.changed" in told
    assert base64.b64encode(NEW).decode()[:20] not in told
    assert "nnn" not in told
