"""The language of a mail."""

import re

OFFERED = ("ru", "en")
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]{1,64})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?"
)
_MAX_HEADER_LENGTH = 1000
# What templates can differ by: BCP 47 up to its extensions, which begin with a singleton (RFC 5646
# §2.1).
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{2,8}){0,4}(?=[-.@]|$)")
_MAX_LOCALE_LENGTH = 64


def known_locale(text: str | None) -> str | None:
    """Return a text's locale, in the form used in records; None if it has none.

    It accepts the usual forms of a locale: ``en_US``, POSIX's ``en_US.UTF-8@euro``, and BCP 47 with
    extensions, which no template depends on: ``en-US-u-fw-mon`` is en-US.
    """
    found = _LOCALE.match((text or "")[:_MAX_LOCALE_LENGTH].strip().replace("_", "-"))
    return found[0] if found else None


def choose_locale(asked: str | None, accept_language: str | None, default: str) -> str:
    """Return the requested locale, else the best of Accept-Language, else the default.

    A requested locale is taken as it is: only the sender has the list of templates. Of
    Accept-Language (RFC 9110 §12.5.4) only the languages count; unparsable parts are skipped.
    """
    if asked:
        return asked
    best, best_weight = default, 0.0
    for item in (accept_language or "")[:_MAX_HEADER_LENGTH].split(","):
        match = _RANGE.fullmatch(item)
        if not match:
            continue
        language = match[1].lower()
        weight = float(match[2]) if match[2] else 1.0
        if language in OFFERED and weight > best_weight:
            best, best_weight = language, weight
    return best
