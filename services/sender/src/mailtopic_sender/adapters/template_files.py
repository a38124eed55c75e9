"""Templates from a directory, such as a mounted ConfigMap: a file for each part.

A file is named ``<purpose>.<locale>.<part>``, such as ``signup.ru.subject``; the parts are subject,
text and html, and a template has all three. The purpose ``any`` is used for purposes without a
template of their own.
"""

from collections.abc import Mapping
from pathlib import Path

from mailtopic_runtime import SettingError
from mailtopic_sender.domain.templates import ANY_PURPOSE, Template

SETTING = "MAILTOPIC_TEMPLATE__DIRECTORY"
_PARTS = ("subject", "text", "html")
_ANY = "any"


def load_templates(directory: Path) -> Mapping[tuple[str, str], Template]:
    """Return the templates by (purpose, locale).

    Raises:
        SettingError: the directory or a file can't be read, or a template lacks a part.
    """
    try:
        # A mounted ConfigMap has the kubelet's hidden entries beside the files.
        paths = sorted(p for p in directory.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise SettingError(SETTING, f"{directory} can't be read: {error.strerror}") from None
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for path in paths:
        purpose, locale, part = _name(path)
        parts.setdefault((purpose, locale), {})[part] = _text(path)
    return {
        (ANY_PURPOSE if purpose == _ANY else purpose, locale): _template(purpose, locale, found)
        for (purpose, locale), found in parts.items()
    }


def _name(path: Path) -> tuple[str, str, str]:
    pieces = path.name.rsplit(".", 2)
    if len(pieces) != len(_PARTS) or not all(pieces) or pieces[2] not in _PARTS:
        raise SettingError(
            SETTING, f"{path.name} is no template: call it <purpose>.<locale>.subject, .text, .html"
        )
    return pieces[0], pieces[1], pieces[2]


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(SETTING, f"{path.name} can't be read: {reason}") from None
    # Editors end a file with a line end, which a subject must not have.
    return text.rstrip("\r\n") if path.name.endswith(".subject") else text


def _template(purpose: str, locale: str, found: Mapping[str, str]) -> Template:
    missing = [part for part in _PARTS if part not in found]
    if missing:
        raise SettingError(SETTING, f"{purpose}.{locale}.{missing[0]} is missing")
    return Template(**found)
