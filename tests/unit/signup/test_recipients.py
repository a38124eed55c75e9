"""Which addresses get mail, and how what was refused is shown."""

from pathlib import Path

import pytest

from mailtopic_contract import parse_address
from mailtopic_runtime import SettingError
from mailtopic_signup.errors import BadField
from mailtopic_signup.recipients import Recipients, load_domains


@pytest.fixture
def blocked(tmp_path: Path) -> Recipients:
    path = tmp_path / "domains.txt"
    path.write_text("# throw-away\n\nThrowAway.example  # the best known\nпример.example\n")
    return Recipients(load_domains(path))


@pytest.mark.parametrize(
    "domain",
    ["throwaway.example", "THROWAWAY.example", "a.b.throwaway.example", "xn--e1afmkfd.example"],
)
async def test_a_blocked_domain_and_all_below_it_are_refused(
    blocked: Recipients, domain: str
) -> None:
    with pytest.raises(BadField) as refused:
        await blocked.admit(f"anna@{domain}", field="email")
    assert str(refused.value) == "email: addresses of this domain are not accepted"


@pytest.mark.parametrize("domain", ["example.com", "notthrowaway.example", "throwaway.example.com"])
async def test_other_domains_are_taken(blocked: Recipients, domain: str) -> None:
    assert (await blocked.admit(f"anna@{domain}", field="email")).domain == domain


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a b\n", "line 1 of"), ("ok.example\n-bad.example\n", "line 2 of"), (None, "can't be read")],
)
def test_a_list_that_can_not_be_used_is_named(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "domains.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingError, match=problem):
        load_domains(path)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@аррӏе.com", "a***@xn--80ak6aa92e.com"),  # Cyrillic letters that look like apple
        ("anna@EXAMPLE.com", "a***@example.com"),
    ],
)
def test_a_domain_is_shown_in_punycode_so_that_look_alikes_look_different(
    address: str, shown: str
) -> None:
    assert parse_address(address).redacted == shown
    assert shown in repr(parse_address(address))
