"""Every setting of a process, from environment variables that begin with ENTAS_, checked before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.kit.crash import parse_crash_points

_PREFIX = "ENTAS_"
_SECRET_HEX = re.compile(r"[0-9a-fA-F]{64}")


S = TypeVar("S", bound="Settings")


class SettingsInvalid(Exception):
    """The environment does not describe a process that can run; the message names each variable and its remedy."""


class Settings(BaseSettings):
    """A field's description is the remedy that an error about it shows. Read it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: Literal["production", "demo", "test"] = Field("production", description="production, demo or test")
    database_url: str = Field(
        repr=False, pattern=r"^postgres(ql)?://", description="this service's own database, postgresql://user@host/name"
    )
    kafka_bootstrap: str = Field(min_length=1, description="Kafka's host:port, several by commas")
    api_host: str = Field("127.0.0.1", description="the address that the API listens on")
    api_port: int = Field(8000, ge=1, le=65535, description="the port of the API, 1 to 65535")
    worker_port: int = Field(8001, ge=1, le=65535, description="the port of the worker's health and metrics")
    token_issuer: str = Field(min_length=1, description="the `iss` that every token must carry")
    jwks_url: str = Field(pattern="^https?://", description="where the issuer publishes its public keys")
    token_url: str | None = Field(None, pattern="^https?://", description="where this service fetches its own token")
    client_id: str | None = Field(None, description="this service's name at the issuer")
    client_secret: str | None = Field(None, repr=False, description="this service's secret at the issuer")
    registry_url: str | None = Field(None, pattern="^https?://", description="the registry's API, which unwraps keys")
    master_key_file: Path | None = Field(None, description="a file with 32 bytes in hex (openssl rand -hex 32)")
    search_pepper_file: Path | None = Field(None, description="a file with 32 bytes in hex, not the master key's")
    checkpoint_key_file: Path | None = Field(None, description="a file with 32 bytes in hex, this service's own")
    checkpoint_seconds: float = Field(60, gt=0, le=3600, description="seconds between checkpoints, at most 3600")
    witness: str | None = Field(
        None, pattern="^(file:///|https?://)", description="file:///path or https://…, outside of this service's reach"
    )
    clock_file: Path | None = Field(None, description="a steered clock; unset it to use the system's")
    crash_points: Annotated[dict[str, int], NoDecode] = Field(
        {}, description="names in services/kit/crash.py, by commas"
    )
    crash_once_dir: Path | None = Field(None, description="a folder in which points that were reached leave a mark")
    allow_http: bool = Field(False, description="true only where something else encrypts, such as a service mesh")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("crash_points", mode="before")
    @classmethod
    def _read_crash_points(cls, value: object) -> object:
        return parse_crash_points(value) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _accept_lower_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("clock_file", "crash_points")
    @classmethod
    def _refuse_test_aids_in_production(cls, value: object, info: ValidationInfo) -> object:
        if value and info.data.get("environment") == "production":
            raise ValueError("is for demo and test; unset it in production")
        return value

    @model_validator(mode="after")
    def _refuse_plain_http_in_production(self) -> Self:
        plain = [
            _PREFIX + name.upper()
            for name in ("jwks_url", "token_url", "registry_url", "witness")
            if (getattr(self, name) or "").startswith("http:")
        ]
        if plain and self.environment == "production" and not self.allow_http:
            raise ValueError(f"{', '.join(plain)}: plain http; use https, or ENTAS_ALLOW_HTTP=true behind a mesh")
        return self

    def needed(self, name: str) -> str:
        """A setting that only some services need, such as "registry_url". Raises SettingsInvalid when it is not set."""
        value = getattr(self, name)
        if not value:
            raise SettingsInvalid(_line(name, "is not set, and this service needs it"))
        return cast(str, value)

    def master_key(self) -> bytes:
        """The 32 bytes that wrap the persons' keys. Raises SettingsInvalid; never shows what the file holds."""
        return self._secret("master_key_file")

    def search_pepper(self) -> bytes:
        """The 32 bytes that key the search digests. Raises SettingsInvalid; never shows what the file holds."""
        return self._secret("search_pepper_file")

    def checkpoint_key(self) -> bytes:
        """The 32 bytes that sign checkpoints. Raises SettingsInvalid; never shows what the file holds."""
        return self._secret("checkpoint_key_file")

    def _secret(self, name: str) -> bytes:
        file = Path(self.needed(name))
        try:
            text = file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise SettingsInvalid(_line(name, f"{file} cannot be read: {error.strerror}")) from error
        except UnicodeDecodeError:
            text = ""
        if not _SECRET_HEX.fullmatch(text):
            raise SettingsInvalid(_line(name, f"{file} does not hold 64 hex digits"))
        return bytes.fromhex(text)


def load_settings(kind: type[S] = Settings) -> S:  # type: ignore[assignment]
    """Reads the environment. Raises SettingsInvalid with one line a variable, without any value."""
    try:
        return kind()
    except ValidationError as error:
        lines = [_explained(kind, problem) for problem in error.errors(include_input=False, include_url=False)]
        raise SettingsInvalid("the settings are not complete:\n" + "\n".join(lines)) from None


def _explained(kind: type[Settings], problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return f"  {message}"
    message = "is not set" if problem["type"] == "missing" else message
    return "  " + _line(str(problem["loc"][0]), message, kind)


def _line(name: str, message: str, kind: type[Settings] = Settings) -> str:
    return f"{_PREFIX}{name.upper()}: {message}. It should be: {kind.model_fields[name].description}"
