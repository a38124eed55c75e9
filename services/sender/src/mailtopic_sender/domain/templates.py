"""Templates, compiled and encoded once; a mail only fills in its variables.

A placeholder is ``{name}``. Any other brace is text, so style sheets need no doubling.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mailtopic_sender.domain.quoted_printable import SOFT_BREAK, encode

ANY_PURPOSE = "*"
"""Templates of this purpose are used for purposes without their own."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
MAX_PART_BYTES: Final = 4 * 1024 * 1024
"""The largest encoded body of a mail: one variable of the largest record fits in any script. A
template that repeats a large one would multiply it.
"""

_SLOT_ROOM: Final = 16
"""Characters kept free on a line for a variable, so that a code needs no line of its own."""
_LINE_ROOM: Final = 73


class TemplateError(ValueError):
    """A mail can't be rendered, however often it is tried: it belongs in the DLQ.

    There is no template for its purpose, a variable that the template needs is missing, or a time
    is out of range. The text holds at most the name of the purpose or variable, never a value.
    """


@dataclass(frozen=True, slots=True)
class Template:
    """A template's source: a subject, and the body as text and as HTML."""

    subject: str
    text: str
    html: str


BUILT_IN: Mapping[str, Template] = {
    "ru": Template(
        subject="Ваш одноразовый код",
        text="Ваш код: {code}",
        html="<p>Ваш код: <b>{code}</b></p>",
    ),
    "en": Template(
        subject="Your one-time code",
        text="Your code: {code}",
        html="<p>Your code: <b>{code}</b></p>",
    ),
}
"""The built-in templates, by locale, for any purpose without its own."""

CODELESS: Mapping[str, Mapping[str, Template]] = {
    # A signup with an address that was confirmed before.
    "account-exists": {
        "ru": Template(
            subject="У вас уже есть учётная запись",
            text="Этот адрес уже подтверждён, и код не нужен: у вас есть учётная запись.\n"
            "Если регистрировались не вы, ничего делать не нужно.",
            html="<p>Этот адрес уже подтверждён, и код не нужен: у вас есть учётная запись.</p>"
            "<p>Если регистрировались не вы, ничего делать не нужно.</p>",
        ),
        "en": Template(
            subject="You already have an account",
            text="This address is confirmed already, so there is no code: you have an account.\n"
            "If it wasn't you who signed up, there is nothing to do.",
            html="<p>This address is confirmed already, so there is no code: you have an "
            "account.</p><p>If it wasn't you who signed up, there is nothing to do.</p>",
        ),
    },
}
"""Templates of the purposes whose mails contain no code, by locale. Those of ANY_PURPOSE, which
show one, are never used for these purposes: without a template in the mail's language the default
locale is used, else English."""

_LAST_RESORT = "en"


class SubjectSegments:
    """A subject with placeholders, split once. Immutable."""

    __slots__ = ("_fixed", "names")

    def __init__(self, source: str) -> None:
        parts = _PLACEHOLDER.split(source)
        self._fixed = tuple(parts[0::2])
        self.names: tuple[str, ...] = tuple(parts[1::2])
        """The placeholders' names, in order."""

    def fill(self, variables: Mapping[str, str]) -> str:
        """Return the subject with its placeholders filled in.

        Raises:
            TemplateError: a variable is missing.
        """
        pieces = [self._fixed[0]]
        for name, fixed in zip(self.names, self._fixed[1:], strict=True):
            pieces += (_value(variables, name), fixed)
        return "".join(pieces)


class BodySegments:
    """A body with placeholders, split and encoded once, in quoted-printable. Immutable.

    A short value of ASCII letters and digits, such as a code, is inserted in its line, which has
    room for it. Any other one is encoded by itself, between two soft line breaks.
    """

    __slots__ = ("_first", "_quote", "_slots")

    def __init__(self, source: str, *, quote: Callable[[str], str] | None = None) -> None:
        parts = _PLACEHOLDER.split(source)
        fixed, names = parts[0::2], parts[1::2]
        self._quote = quote
        encoded: list[bytes] = []
        column = 0
        for number, text in enumerate(fixed):
            piece = encode(text, column=column, ends=number == len(names))
            start = piece.rfind(b"\r\n")
            column = column + len(piece) if start < 0 else len(piece) - start - 2
            if number < len(names):
                if column > _LINE_ROOM - _SLOT_ROOM:
                    piece, column = piece + SOFT_BREAK, 0
                column += _SLOT_ROOM
            encoded.append(piece)
        self._first = encoded[0]
        self._slots = tuple(zip(names, encoded[1:], strict=True))

    def fill(self, variables: Mapping[str, str]) -> bytes:
        """Return the body, without a line end after its last line.

        Raises:
            TemplateError: a variable is missing, or it gets larger than MAX_PART_BYTES.
        """
        pieces = [self._first]
        room = MAX_PART_BYTES
        for name, fixed in self._slots:
            value = _value(variables, name)
            if len(value) <= _SLOT_ROOM and value.isascii() and value.isalnum():
                pieces.append(value.encode())
            else:
                quoted = self._quote(value) if self._quote else value
                encoded = encode(quoted, ends=False)
                pieces += (SOFT_BREAK, encoded, SOFT_BREAK)
                room -= len(encoded)
                if room < 0:
                    raise TemplateError("the mail gets too large with this template")
            pieces.append(fixed)
        return b"".join(pieces)


def _value(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name)
    if value is None:
        raise TemplateError(f"the variable {name} is missing")
    return value


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """A template ready to be filled in; `locale` is its own locale."""

    locale: str
    subject: SubjectSegments
    text: BodySegments
    html: BodySegments


def compile_template(template: Template, locale: str) -> CompiledTemplate:
    """Split and encode a template. Values are HTML-escaped in the HTML part, and only there."""
    return CompiledTemplate(
        locale=locale,
        subject=SubjectSegments(template.subject),
        text=BodySegments(template.text),
        html=BodySegments(template.html, quote=html.escape),
    )


class TemplateSet:
    """Templates by purpose and locale.

    A locale is looked up unchanged, then by its language alone (``ru-RU`` → ``ru``), then as the
    default locale. In each step, a purpose's own templates come before those of ANY_PURPOSE: a mail
    is never written in another language if there is a template for its purpose in its own. The
    purposes of CODELESS use only their own templates.
    """

    def __init__(
        self,
        templates: Mapping[tuple[str, str], Template] | None = None,
        *,
        default_locale: str = "ru",
    ) -> None:
        """Compile.

        Args:
            templates: by (purpose, locale); they replace or extend the built-in ones, which are
                (ANY_PURPOSE, "ru") and (ANY_PURPOSE, "en").
            default_locale: for mails in a locale that has no template.

        Raises:
            TemplateError: no template of ANY_PURPOSE is written in default_locale.
        """
        every = {(ANY_PURPOSE, locale): template for locale, template in BUILT_IN.items()}
        for purpose, by_locale in CODELESS.items():
            every.update({(purpose, locale): each for locale, each in by_locale.items()})
        every.update(templates or {})
        self._compiled = {
            (purpose, _normal(locale)): compile_template(template, locale)
            for (purpose, locale), template in every.items()
        }
        self._default_locale = _normal(default_locale)
        self._found: dict[tuple[str, str], CompiledTemplate] = {}
        if (ANY_PURPOSE, self._default_locale) not in self._compiled:
            raise TemplateError("no template is written in the default locale")

    def select(self, purpose: str, locale: str) -> CompiledTemplate:
        """Return the template for a mail; there always is one."""
        found = self._found.get((purpose, locale))
        if found is None:
            found = self._search(purpose, locale)
            if len(self._found) < _REMEMBERED:
                self._found[purpose, locale] = found
        return found

    def _search(self, purpose: str, locale: str) -> CompiledTemplate:
        wanted = _normal(locale)
        owners = (purpose,) if purpose in CODELESS else (purpose, ANY_PURPOSE)
        for candidate in (wanted, wanted.partition("-")[0], self._default_locale, _LAST_RESORT):
            for owner in owners:
                found = self._compiled.get((owner, candidate))
                if found is not None:
                    return found
        raise AssertionError("the default locale is always there")


_REMEMBERED = 1024
"""Cached look-ups; bounded because purposes and locales come from records."""


def _normal(locale: str) -> str:
    return locale.replace("_", "-").lower()
