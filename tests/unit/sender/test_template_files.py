"""Templates from a directory."""

from pathlib import Path

import pytest

from mailtopic_runtime import SettingError
from mailtopic_sender.adapters.template_files import load_templates
from mailtopic_sender.domain.templates import ANY_PURPOSE, Template


def _write(directory: Path, **texts: str) -> None:
    for name, text in texts.items():
        (directory / name.replace("__", ".")).write_text(text)


def test_three_files_make_a_template(tmp_path: Path) -> None:
    _write(tmp_path, signup__ru__subject="Код\n", signup__ru__text="{code}\n", signup__ru__html="x")
    assert load_templates(tmp_path) == {("signup", "ru"): Template("Код", "{code}\n", "x")}


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path) -> None:
    for part in ("subject", "text", "html"):
        (tmp_path / f"signup.ru.{part}").write_bytes(b"\xef\xbb\xbf{code}")
    template = load_templates(tmp_path)["signup", "ru"]
    assert (template.subject, template.text, template.html) == ("{code}", "{code}", "{code}")


def test_the_purpose_any_serves_all(tmp_path: Path) -> None:
    _write(tmp_path, any__en__subject="s", any__en__text="t", any__en__html="h")
    assert load_templates(tmp_path) == {(ANY_PURPOSE, "en"): Template("s", "t", "h")}


def test_what_the_kubelet_puts_beside_the_files_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    assert load_templates(tmp_path) == {}


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    _write(tmp_path, signup__ru__subject="s", signup__ru__text="t")
    with pytest.raises(SettingError, match=r"signup\.ru\.html is missing"):
        load_templates(tmp_path)


@pytest.mark.parametrize("name", ["readme", "signup.ru.md", ".ru.text"[1:]])
def test_a_file_of_another_name_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(SettingError, match=f"{name} is no template"):
        load_templates(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "signup.ru.text").write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"signup\.ru\.text can't be read: it is not text"):
        load_templates(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="can't be read: No such file"):
        load_templates(tmp_path / "absent")
