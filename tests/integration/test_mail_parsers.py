"""The same words, read by parsers that nobody here wrote and that aren't Python's."""

import json
import random
import shutil
import subprocess
import uuid
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest

from benchmarks.side_by_side.places import MADE
from benchmarks.side_by_side.tools import ToolError
from benchmarks.side_by_side.tools import node as fetched_node
from mailtopic_contract import parse_address
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateSet
from support.requirements import require

PARSERS = Path(__file__).with_name("mail_parser")
PIECES = (
    *(
        "{code}",
        "{code}{code}",
        ".",
        " ",
        "\t ",
        "=",
        "=_",
        "--=_1",
        "🏴‍☠️",
        "From ",
        "=?utf-8?q?x?=",
    ),
    *("\n", "\n.\n", " \n", "a" * 57, "x. " * 60, "я" * 200, "é", "<b>", "Ваш код: "),
)
VALUES = ("123456", "", "x" * 17, ".", " ", "\n", "&<>", "Иван\nи Марья", "я" * 99)
SUBJECTS = ("Ваш одноразовый код", "Your one-time code", "я" * 99, "a=?b", "🏴‍☠️ " * 20)


def perl() -> list[str]:
    program = shutil.which("perl")
    if program is None or subprocess.run([program, "-MEmail::MIME", "-e1"], check=False).returncode:  # noqa: S603 - a fixed program
        require("perl", "perl or Email::MIME is missing")
    return [program, str(PARSERS / "parser.pl")]


def node() -> list[str]:
    place = MADE.parent / "mail_parser"
    try:
        program = fetched_node(print, PARSERS, place)
    except ToolError as error:
        require("node", f"Node.js or its package can't be fetched: {error}")
    return [str(program), str(place / "parser.mjs")]


def read(command: list[str], paths: list[Path]) -> list[dict[str, str]]:
    names = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(  # noqa: S603 - a fixed program on files of the test
        command, input=names, capture_output=True, text=True, check=True, timeout=100
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("parser", [perl, node])
def test_others_read_what_was_meant(parser: Callable[[], list[str]], tmp_path: Path) -> None:
    command = parser()
    chance = random.Random(1)  # noqa: S311 - which mails are tried is no secret
    paths, meant = [], []
    for number in range(300):
        text, html = ("".join(chance.choices(PIECES, k=chance.randrange(9))) for _ in range(2))
        subject, code = chance.choice(SUBJECTS), chance.choice(VALUES)
        templates = TemplateSet({("signup", "ru"): Template(subject, text, html)})
        composer = MessageComposer(
            templates, from_name="Почта", from_address=parse_address("no-reply@example.com")
        )
        message = composer.compose(
            mail_id=uuid.uuid4(),
            recipient=parse_address(f"user{number}@example.org"),
            purpose="signup",
            locale="ru",
            variables={"code": code},
            accepted_at_ms=1_790_000_000_000,
        )
        paths.append(tmp_path / f"{number}.eml")
        paths[-1].write_bytes(message.content)
        meant.append(
            {
                "subject": subject.strip(),
                "to": f"user{number}@example.org",
                "text": text.replace("{code}", code),
                "html": html.replace("{code}", escape(code)),
            }
        )
    found = [
        {name: value.replace("\r\n", "\n") for name, value in mail.items()}
        for mail in read(command, paths)
    ]
    for mail in found:
        mail["subject"] = mail["subject"].strip()
    assert found == meant
