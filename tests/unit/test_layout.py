"""The shape of the tree that tools and images rely on."""

import ast
import operator
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SENDER = ROOT / "services/sender/src"

MOST_METHODS, MOST_ARGUMENTS = 12, 6
LARGE = {
    "Channel": "the mailer's, the queue's and the relay's side of one relay",
    "KafkaSource": "two ports, and the words for a topic that was replaced",
    "LearnedRate": "one state machine: fast, slowed down, on trial",
    "Ledger": "what is read, what is noted and what is forgotten share one map",
    "MemoryRelay": "the nine methods of `Relay`, and what tests script",
    "PacedQueue": "a queue and the two timers that release it",
    "Pump": "the consumer's callbacks, and the loop between them",
    "Recorder": "one method for each outcome",
    "RefusalGuard": "one state machine: open, closed, one mail on trial",
    "RelayPace": "rate, connections and mails on each, asked and noted",
    "SmtpLink": "asyncio's protocol, and a deadline without a timer for each reply",
    "SmtpPool": "lent and idle sessions are counted together",
    "SmtpSession": "the steps of a transaction, in lock-step and pipelined",
}
"""Classes with more methods, and why they stay whole. None is added."""
WIDE = {"Delivery", "Express", "KafkaSource", "Pump"}
"""Classes whose constructor takes more arguments. None is added."""


def test_the_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert operator.__file__ is not None
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))


def test_no_python_file_lies_directly_in_the_operator_folder() -> None:
    assert list((ROOT / "operator").glob("*.py")) == []


def test_no_test_folder_is_called_operator_or_is_a_package() -> None:
    tests = ROOT / "tests"
    assert [path for path in tests.rglob("operator") if path.is_dir()] == []
    assert list(tests.rglob("__init__.py")) == []


def test_every_member_ships_its_types() -> None:
    for member in (ROOT / "services").iterdir():
        if (member / "pyproject.toml").exists():
            assert (member / "src" / f"mailtopic_{member.name}" / "py.typed").exists(), member.name


def test_no_source_file_is_longer_than_four_hundred_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "services").rglob("src/**/*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def sender_classes() -> Iterator[tuple[str, list[ast.FunctionDef | ast.AsyncFunctionDef]]]:
    """The name and the methods of each class of the sender."""
    for path in SENDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                functions = (ast.FunctionDef, ast.AsyncFunctionDef)
                yield node.name, [each for each in node.body if isinstance(each, functions)]


def test_the_sender_has_no_further_large_class_and_no_exception_that_is_not_needed() -> None:
    large = {name for name, methods in sender_classes() if len(methods) > MOST_METHODS}
    assert large == LARGE.keys()


def test_no_further_constructor_of_the_sender_takes_many_arguments() -> None:
    wide = {
        name
        for name, methods in sender_classes()
        for method in methods
        if method.name == "__init__"
        and len(method.args.args) - 1 + len(method.args.kwonlyargs) > MOST_ARGUMENTS
    }
    assert wide == WIDE


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
