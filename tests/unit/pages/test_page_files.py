"""What both pages promise as files: small, alike, in two languages, nothing inline or foreign."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mailtopic_inbox
import mailtopic_signup

SIGNUP = Path(mailtopic_signup.__file__).parent / "pages"
INBOX = Path(mailtopic_inbox.__file__).parent / "pages"
BOTH = pytest.mark.parametrize("pages", [SIGNUP, INBOX], ids=["signup", "inbox"])
MAX_TOTAL_BYTES = 40_000
# In a frame whose sandbox gives it an origin of its own, a style can't come from a file.
HAS_INLINE_STYLE = {"reader.js"}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(pages: Path) -> list[tuple[str, dict[str, str | None]]]:
    return Elements((pages / "index.html").read_text()).found


def texts(pages: Path) -> dict[str, set[str]]:
    """The keys of each language's block in strings.js."""
    blocks = re.findall(
        r"^  (\w\w): \{\n(.*?)^  \},", (pages / "strings.js").read_text(), re.MULTILINE | re.DOTALL
    )
    return {
        language: set(re.findall(r'^    "?([\w.]+)"?:', block, re.MULTILINE))
        for language, block in blocks
    }


@BOTH
def test_a_page_is_smaller_than_40_kb(pages: Path) -> None:
    assert 0 < sum(file.stat().st_size for file in pages.iterdir()) < MAX_TOTAL_BYTES


@pytest.mark.parametrize("name", ["base.css", "language.js", "favicon.svg"])
def test_the_parts_that_both_pages_share_are_equal(name: str) -> None:
    assert (SIGNUP / name).read_bytes() == (INBOX / name).read_bytes()


@BOTH
def test_both_languages_have_the_same_texts(pages: Path) -> None:
    assert set(texts(pages)) == {"en", "ru"}
    assert texts(pages)["en"] == texts(pages)["ru"]


@BOTH
def test_every_text_that_the_markup_or_a_script_names_exists(pages: Path) -> None:
    named = {
        key
        for _, attributes in elements(pages)
        for name in ("data-text", "data-label")
        if (key := attributes.get(name))
    }
    for script in pages.glob("*.js"):
        named |= set(re.findall(r'\btext\("([\w.]+)"', script.read_text()))
    assert named
    assert named <= texts(pages)["en"]


@BOTH
def test_nothing_is_inline_so_that_a_strict_policy_fits(pages: Path) -> None:
    for tag, attributes in elements(pages):
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    for script in pages.glob("*.js"):
        assert script.name in HAS_INLINE_STYLE or "<style" not in script.read_text()


@BOTH
def test_nothing_is_loaded_from_another_host(pages: Path) -> None:
    loaded = [
        attributes.get(name) or ""
        for _, attributes in elements(pages)
        for name in ("src", "href")
        if name in attributes
    ]
    for sheet in pages.glob("*.css"):
        loaded += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", sheet.read_text())
    assert loaded
    assert not [address for address in loaded if "//" in address]


@BOTH
def test_no_script_can_turn_text_into_markup(pages: Path) -> None:
    for script in pages.glob("*.js"):
        source = script.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source
        )


@BOTH
def test_every_field_has_a_label(pages: Path) -> None:
    labelled = {attributes.get("for") for tag, attributes in elements(pages) if tag == "label"}
    fields = {attributes.get("id") for tag, attributes in elements(pages) if tag == "input"}
    assert fields <= labelled
