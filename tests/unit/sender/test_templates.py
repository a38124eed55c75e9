import quopri

import pytest

from mailtopic_sender.domain.templates import (
    ANY_PURPOSE,
    BUILT_IN,
    MAX_PART_BYTES,
    Template,
    TemplateError,
    TemplateSet,
)


def decoded(body: bytes) -> str:
    return quopri.decodestring(body).decode()


def test_the_built_in_template_is_the_original_one() -> None:
    assert BUILT_IN["ru"] == Template(
        subject="Ваш одноразовый код",
        text="Ваш код: {code}",
        html="<p>Ваш код: <b>{code}</b></p>",
    )


@pytest.mark.parametrize(
    ("locale", "written_in"),
    [("ru", "ru"), ("ru-RU", "ru"), ("ru_RU", "ru"), ("EN-gb", "en"), ("de", "ru"), ("", "ru")],
)
def test_a_locale_falls_back_to_its_language_then_to_the_default(
    locale: str, written_in: str
) -> None:
    assert TemplateSet().select("signup", locale).locale == written_in


def test_the_default_locale_can_be_chosen() -> None:
    assert TemplateSet(default_locale="en").select("signup", "de").locale == "en"


def test_a_default_locale_without_a_template_is_refused() -> None:
    with pytest.raises(TemplateError):
        TemplateSet(default_locale="de")


def test_a_purpose_has_its_own_template_and_the_others_the_common_one() -> None:
    own = Template("S", "T {code}", "H {code}")
    templates = TemplateSet({("reset", "ru"): own})
    assert templates.select("reset", "ru-RU").subject.fill({}) == "S"
    assert templates.select("signup", "ru").subject.fill({}) == "Ваш одноразовый код"
    assert templates.select("reset", "en").subject.fill({}) == "Your one-time code"


def test_a_common_template_can_be_replaced() -> None:
    templates = TemplateSet({(ANY_PURPOSE, "ru"): Template("S", "T", "H")})
    assert templates.select("signup", "ru").text.fill({}) == b"T"


@pytest.mark.parametrize(
    ("locale", "default", "written_in"),
    [("ru-RU", "ru", "ru"), ("en", "ru", "en"), ("de", "ru", "ru"), ("de", "de", "en")],
)
def test_a_mail_without_a_code_is_never_written_with_a_template_that_shows_one(
    locale: str, default: str, written_in: str
) -> None:
    german = Template("Ihr Code", "{code}", "{code}")
    templates = TemplateSet({(ANY_PURPOSE, "de"): german}, default_locale=default)
    template = templates.select("account-exists", locale)
    assert template.locale == written_in
    assert all(part.fill({}) for part in (template.subject, template.text, template.html))


def test_a_mail_without_a_code_can_have_a_template_of_its_own() -> None:
    own = Template("Konto", "da", "da")
    templates = TemplateSet({("account-exists", "de"): own})
    assert templates.select("account-exists", "de-AT").subject.fill({}) == "Konto"


def test_a_missing_variable_is_named_and_no_value_is() -> None:
    template = TemplateSet().select("signup", "ru")
    with pytest.raises(TemplateError, match="code") as caught:
        template.text.fill({"kode": "123456"})
    assert "123456" not in str(caught.value)


def test_other_braces_are_text() -> None:
    style = "<style>b { color: red } {{x}} { code }</style>{code}"
    template = TemplateSet({("p", "ru"): Template("S", "T", style)}).select("p", "ru")
    filled = decoded(template.html.fill({"code": "1", "x": "2"}))
    assert filled == "<style>b { color: red } {2} { code }</style>1"


def test_values_are_not_templates() -> None:
    template = TemplateSet().select("signup", "ru")
    assert decoded(template.text.fill({"code": "{code}"})) == "Ваш код: {code}"


def test_a_template_that_multiplies_a_large_variable_is_refused_before_memory_is() -> None:
    template = TemplateSet(
        {(ANY_PURPOSE, "en"): Template("Code", "{code}" * 1_000, "{code}")}
    ).select("signup", "en")
    large = {"code": "Ж" * 400_000}
    assert len(template.html.fill(large)) <= MAX_PART_BYTES
    with pytest.raises(TemplateError, match="too large"):
        template.text.fill(large)
    assert len(template.text.fill({"code": "123456"})) < 10_000
