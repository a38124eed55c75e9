"""Parsers for SPF, DKIM and DMARC records, as far as a check needs them. Pure."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass

_SPF = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_POLICIES = frozenset({"none", "quarantine", "reject"})


class RecordError(ValueError):
    """A record that receivers can't use; str() has the reason."""


@dataclass(frozen=True, slots=True)
class Spf:
    """A parsed SPF record (RFC 7208).

    Attributes:
        includes: domains that it includes, in order.
        redirect: the domain with the record that replaces it; None for none.
        lookups: how many of its terms need a DNS query.
        has_other_senders: whether it allows senders other than its includes.
        otherwise: its qualifier for all other hosts: ``-``, ``~``, ``?``, ``+``; None if nothing.
    """

    includes: tuple[str, ...]
    redirect: str | None
    lookups: int
    has_other_senders: bool
    otherwise: str | None


def find_spf(texts: Sequence[str]) -> Spf | None:
    """Parse the SPF record among a domain's TXT records; None if there is none.

    Raises:
        RecordError: there are several (RFC 7208 §4.5: receivers then use none).
    """
    found = [text for text in texts if _SPF.match(text)]
    if len(found) > 1:
        raise RecordError("there are several SPF records, so receivers use none: join them")
    return _parse_spf(found[0]) if found else None


def _parse_spf(text: str) -> Spf:
    includes: list[str] = []
    redirect, lookups, has_others, otherwise = None, 0, False, None
    for term in text.split()[1:]:
        low = term.lower()
        qualifier, mechanism = (low[0], low[1:]) if low[0] in "+-~?" else ("+", low)
        kind = re.split(r"[:/=]", mechanism, maxsplit=1)[0]
        # RFC 7208 §4.6.4: these need a DNS query.
        lookups += kind in {"include", "a", "mx", "ptr", "exists", "redirect"}
        if kind == "include":
            includes.append(mechanism.removeprefix("include:").rstrip("."))
        elif kind == "redirect":
            redirect = mechanism.removeprefix("redirect=").rstrip(".")
        elif kind == "all":
            otherwise = qualifier
        elif kind in {"a", "mx", "ptr", "exists", "ip4", "ip6"}:
            has_others = has_others or qualifier == "+"
    # RFC 7208 §6.1: a redirect beside "all" is ignored.
    return Spf(tuple(includes), None if otherwise else redirect, lookups, has_others, otherwise)


def dkim_key(texts: Sequence[str]) -> str:
    """Return the public key of a DKIM record, its ``p=`` without white space (RFC 6376 §3.6.1).

    Raises:
        RecordError: there is no single key that verifiers would accept.
    """
    records = [tags for text in texts if "p" in (tags := _tags(text))]
    if not records:
        raise RecordError("it is no DKIM record: it has no p=")
    if len(records) > 1:
        raise RecordError("there are several records, so verifiers may take the wrong one")
    tags = records[0]
    if tags.get("v", "DKIM1") != "DKIM1":
        raise RecordError("it is of another version than DKIM1")
    key = "".join(tags["p"].split())
    if not key:
        raise RecordError("the key is revoked: its p= is empty")
    try:
        b64decode(key, validate=True)
    except (Base64Error, ValueError):
        raise RecordError("its p= is no Base64: was the record cut or quoted?") from None
    return key


def find_dmarc(texts: Sequence[str]) -> str | None:
    """Return the policy of a DMARC record: none, quarantine or reject; None without a record.

    Raises:
        RecordError: there are several, or it has no policy (RFC 7489 §6.3, §6.6.3).
    """
    found = [text for text in texts if text.replace(" ", "").lower().startswith("v=dmarc1")]
    if not found:
        return None
    if len(found) > 1:
        raise RecordError("there are several DMARC records, so receivers use none")
    policy = _tags(found[0]).get("p", "").lower()
    if policy not in _POLICIES:
        raise RecordError("it has no policy: write p=none, p=quarantine or p=reject")
    return policy


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, found, value in pairs if found}
