"""Settings: what is missing is named with its remedy, no value is ever shown, production refuses test aids."""

import os
import re

import pytest
from pydantic import ValidationError

from services.kit.settings import Settings, SettingsInvalid, load_settings

GOOD = {
    "ENTAS_ENVIRONMENT": "test",
    "ENTAS_DATABASE_URL": "postgresql://entas:hunter2@localhost/registry",
    "ENTAS_KAFKA_BOOTSTRAP": "localhost:9092",
    "ENTAS_TOKEN_ISSUER": "https://issuer.entas.test",
    "ENTAS_JWKS_URL": "https://issuer.entas.test/jwks",
}


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ENTAS_")]:
        monkeypatch.delenv(name)

    def put(**changes):
        for name, value in (GOOD | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return put


def refused():
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings()
    return str(refusal.value)


def test_a_complete_environment_is_read(environment):
    environment(ENTAS_API_PORT="8101", ENTAS_LOG_LEVEL="debug", ENTAS_CRASH_POINTS="sealed-not-sent:2,half-an-import")
    settings = load_settings()
    assert settings.database_url.endswith("/registry")
    assert settings.api_port == 8101
    assert settings.log_level == "DEBUG"
    assert settings.crash_points == {"sealed-not-sent": 2, "half-an-import": 1}
    assert settings.clock_file is None


def test_an_empty_variable_counts_as_not_set(environment):
    environment(ENTAS_CLOCK_FILE="", ENTAS_CRASH_POINTS="", ENTAS_API_PORT="")
    settings = load_settings()
    assert (settings.clock_file, settings.crash_points, settings.api_port) == (None, {}, 8000)


def test_without_an_environment_it_is_production(environment):
    environment(ENTAS_ENVIRONMENT=None)
    assert load_settings().environment == "production"


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"ENTAS_ENVIRONMENT"}))
def test_a_missing_variable_is_named_with_its_remedy(environment, name):
    environment(**{name: None})
    field = Settings.model_fields[name.removeprefix("ENTAS_").lower()]
    assert f"{name}: is not set. It should be: {field.description}" in refused()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENTAS_ENVIRONMENT", "staging-hunter2"),
        ("ENTAS_DATABASE_URL", "mysql://entas:hunter2@localhost/registry"),
        ("ENTAS_API_PORT", "hunter2"),
        ("ENTAS_WORKER_PORT", "65536"),
        ("ENTAS_JWKS_URL", "ftp://hunter2"),
        ("ENTAS_LOG_LEVEL", "hunter2"),
        ("ENTAS_CRASH_POINTS", "sealed-not-send"),
        ("ENTAS_ALLOW_HTTP", "hunter2"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(environment, name, value):
    environment(**{name: value})
    message = refused()
    assert re.search(rf"^  {name}: .*It should be: ", message, re.MULTILINE)
    assert "hunter2" not in message


def test_not_even_the_librarys_own_error_shows_a_value(environment):
    environment(ENTAS_DATABASE_URL="mysql://entas:hunter2@localhost/registry")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert "hunter2" not in str(refusal.value)


def test_everything_that_is_wrong_is_said_at_once(environment):
    environment(ENTAS_DATABASE_URL=None, ENTAS_API_PORT="x", ENTAS_JWKS_URL=None)
    message = refused()
    assert all(name in message for name in ("ENTAS_DATABASE_URL", "ENTAS_API_PORT", "ENTAS_JWKS_URL"))


@pytest.mark.parametrize(
    ("name", "value"), [("ENTAS_CLOCK_FILE", "/var/clock"), ("ENTAS_CRASH_POINTS", "sealed-not-sent")]
)
def test_production_refuses_test_aids(environment, name, value):
    environment(ENTAS_ENVIRONMENT="production", **{name: value})
    assert f"{name}: is for demo and test; unset it in production" in refused()
    environment(ENTAS_ENVIRONMENT=None, **{name: value})
    assert name in refused()
    environment(ENTAS_ENVIRONMENT="demo", **{name: value})
    load_settings()


@pytest.mark.parametrize("name", ["ENTAS_JWKS_URL", "ENTAS_TOKEN_URL", "ENTAS_REGISTRY_URL"])
def test_production_refuses_plain_http_for_keys_and_secrets(environment, name):
    environment(ENTAS_ENVIRONMENT="production", **{name: "http://issuer/x"})
    assert f"{name}: plain http" in refused()
    environment(ENTAS_ENVIRONMENT="production", ENTAS_ALLOW_HTTP="true", **{name: "http://issuer/x"})
    load_settings()


def test_secrets_are_not_in_the_settings_text(environment):
    environment(ENTAS_CLIENT_SECRET="swordfish")
    settings = load_settings()
    assert settings.client_secret == "swordfish"
    assert "swordfish" not in repr(settings) + str(settings)
    assert "hunter2" not in repr(settings) + str(settings)


def test_a_setting_that_only_this_service_needs_is_named_when_it_is_missing(environment):
    environment(ENTAS_TOKEN_URL="https://issuer.entas.test/token")
    settings = load_settings()
    assert settings.needed("token_url") == "https://issuer.entas.test/token"
    with pytest.raises(SettingsInvalid, match="ENTAS_REGISTRY_URL: is not set, and this service needs it"):
        settings.needed("registry_url")


def test_key_files_are_read_when_they_are_needed(environment, tmp_path):
    (tmp_path / "master").write_text("ab" * 32 + "\n")
    (tmp_path / "pepper").write_text("CD" * 32)
    environment(ENTAS_MASTER_KEY_FILE=str(tmp_path / "master"), ENTAS_SEARCH_PEPPER_FILE=str(tmp_path / "pepper"))
    settings = load_settings()
    assert settings.master_key() == bytes.fromhex("ab" * 32)
    assert settings.search_pepper() == bytes.fromhex("cd" * 32)


@pytest.mark.parametrize(
    "content", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff\xfe" * 16, b"ab" * 16 + b"\n" + b"ab" * 16]
)
def test_a_file_that_holds_no_key_is_named_and_its_content_is_not_shown(environment, tmp_path, content):
    (tmp_path / "master").write_bytes(content)
    environment(ENTAS_MASTER_KEY_FILE=str(tmp_path / "master"))
    with pytest.raises(
        SettingsInvalid, match=r"ENTAS_MASTER_KEY_FILE: .*master does not hold 64 hex digits"
    ) as refusal:
        load_settings().master_key()
    assert "abab" not in str(refusal.value)


def test_a_key_file_that_is_not_there_is_named(environment, tmp_path):
    environment(ENTAS_MASTER_KEY_FILE=str(tmp_path / "gone"))
    with pytest.raises(SettingsInvalid, match=r"ENTAS_MASTER_KEY_FILE: .*gone cannot be read: No such file"):
        load_settings().master_key()
