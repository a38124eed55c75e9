"""Settings from the environment: MAILTOPIC_ in front, ``__`` between levels, a file for secrets."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from mailtopic_runtime.errors import EXIT_CONFIG, SettingError

PREFIX = "MAILTOPIC_"
DELIMITER = "__"

SettingsT = TypeVar("SettingsT", bound="MailTopicSettings")


class SettingsGroup(BaseModel):
    """A level of settings, such as everything below ``MAILTOPIC_SMTP__``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
    )


class LogSettings(SettingsGroup):
    """How a process logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are written."""

    format: Literal["auto", "json", "text"] = "auto"
    """``auto`` writes text to a terminal and JSON elsewhere."""


class MetricsSettings(SettingsGroup):
    """Where probes and metrics are served."""

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine can connect; a pod needs 0.0.0.0."""

    port: int | None = Field(default=None, ge=0, le=65535)
    """The port of /livez, /readyz and /metrics; unset: 9100, or a free one if that is taken."""


class MailTopicSettings(BaseSettings):
    """Base of a process's settings. Bad input never appears in an error.

    Every field that is a SecretStr can also be given as a file: NAME_FILE.
    ``aliases`` maps other environment variables to ours; ours win.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
    )

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        """Return aliases, by environment variable: ``{"MAIL_HOST": "..."}``."""
        return {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, in which aliases and secret files have been resolved."""
        del env_settings, dotenv_settings, file_secret_settings
        return (init_settings, _Environment(settings_cls))


class _Environment(EnvSettingsSource):
    """The environment after aliases and secret files have been resolved."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        cls = self.settings_cls
        aliases = cls.aliases() if issubclass(cls, MailTopicSettings) else {}
        env = {name.upper(): value for name, value in os.environ.items()}
        for other, ours in aliases.items():
            if other in env and ours not in env and f"{ours}_FILE" not in env:
                env[ours] = env[other]
        for setting in walk_settings(cls):
            path = env.pop(f"{setting.name}_FILE", None) if setting.is_secret else None
            if path is not None:
                env[setting.name] = _read_secret(f"{setting.name}_FILE", path)
        # An empty variable counts as absent, as charts and compose files write them.
        return {name.lower(): value for name, value in env.items() if value != ""}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read a comma-separated list, ``10s,1m,5m``; JSON is accepted as well."""
        is_list = get_origin(field.annotation) in {list, tuple}
        if is_list and isinstance(value, str) and not value.startswith("["):
            return [item.strip() for item in value.split(",")]
        return super().decode_complex_value(field_name, field, value)


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(name, f"the file {path} can't be read: {reason}") from None


def secret_file(name: str) -> Path | None:
    """Return the file that a secret was read from, to read it again; None if there is none."""
    given = {key.upper(): value for key, value in os.environ.items()}.get(f"{name}_FILE")
    return Path(given) if given else None


class SettingInfo:
    """One setting as ``--help`` shows it."""

    def __init__(self, name: str, field: FieldInfo) -> None:
        self.name = name
        self.field = field
        self.is_secret = SecretStr in (field.annotation, *get_args(field.annotation))

    @property
    def default(self) -> str:
        """The default in words."""
        if self.field.is_required():
            return "required"
        value = self.field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, list | tuple):
            return ",".join(str(item) for item in value)
        return "unset" if value is None else str(value)

    @property
    def description(self) -> str:
        """Unit and purpose, in one line."""
        return " ".join((self.field.description or "").split())


def walk_settings(cls: type[BaseModel], prefix: str = PREFIX) -> Iterator[SettingInfo]:
    """Yield every setting below a settings class, in the order in which they are declared."""
    for name, field in cls.model_fields.items():
        full = f"{prefix}{_as_written(name)}"
        group = _group_of(field.annotation)
        if group:
            yield from walk_settings(group, f"{full}{DELIMITER}")
        else:
            yield SettingInfo(full, field)


def _as_written(part: str) -> str:
    # A field named like a keyword, such as from, has an underscore or an alias.
    return part.upper().removeprefix(PREFIX).rstrip("_")


def _group_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def describe_settings(cls: type[MailTopicSettings]) -> str:
    """Return the text of ``--help`` about a process's settings."""
    lines = ["Settings (environment variables; a secret also as NAME_FILE):", ""]
    for setting in walk_settings(cls):
        lines += [f"  {setting.name}  ({setting.default})", f"      {setting.description}"]
    aliases = [f"  {other} = {ours}" for other, ours in cls.aliases().items()]
    if aliases:
        lines += ["", "Also understood:", "", *aliases]
    return "\n".join(lines)


def load_settings(cls: type[SettingsT], program: str) -> SettingsT:
    """Return a process's settings, or end the process with one line that names the bad one.

    Raises:
        SystemExit: with code 2, after the line has been written to standard error.
    """
    try:
        return cls()
    except SettingError as error:
        fail(program, error)
    except ValidationError as error:
        fail(program, _first_problem(cls, error))
    except SettingsError as error:
        fail(program, SettingError(_unparsed_setting(cls, error), "is not valid JSON"))


def fail(program: str, error: SettingError) -> NoReturn:
    """Write the one line and end the process with code 2."""
    sys.stderr.write(f"{program}: {error}\n")
    raise SystemExit(EXIT_CONFIG)


def _first_problem(cls: type[MailTopicSettings], error: ValidationError) -> SettingError:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    name = PREFIX + DELIMITER.join(_as_written(str(part)) for part in first["loc"])
    alias = next((o for o, ours in cls.aliases().items() if ours == name and o in os.environ), None)
    if first["type"] == "missing":
        name = _first_required(cls, name)
        others = [other for other, ours in cls.aliases().items() if ours == name]
        problem = "is required" + (f" (or {', '.join(others)})" if others else "")
    elif first["type"] == "extra_forbidden":
        problem = "is not a setting"
    else:
        problem = first["msg"].removeprefix("Value error, ")
        # A rule over several settings begins with the name of the one to change.
        if problem.startswith(PREFIX):
            return SettingError(*problem.split(" ", 1))
    shown = alias if alias and name not in os.environ else name
    return SettingError(shown.rstrip("_"), problem)


def _first_required(cls: type[MailTopicSettings], name: str) -> str:
    # When a whole group is missing, the user needs the name of a setting in it.
    below = [s.name for s in walk_settings(cls) if s.name.startswith(f"{name}{DELIMITER}")]
    required = [s.name for s in walk_settings(cls) if s.name in below and s.field.is_required()]
    return (required or below or [name])[0]


def _unparsed_setting(cls: type[MailTopicSettings], error: SettingsError) -> str:
    named = [name for name in cls.model_fields if f'"{name}"' in str(error)]
    group = PREFIX + (named[0].upper() if named else "*")
    # The error names the group; the setting in it is the one that can't be read.
    below = [
        setting.name
        for setting in walk_settings(cls)
        if setting.name.startswith(group + DELIMITER)
        and get_origin(setting.field.annotation) is dict
        and not _is_json(os.environ.get(setting.name, "{}"))
    ]
    return (below or [group])[0]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
