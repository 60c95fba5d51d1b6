"""The senders' settings: what they may be, what production refuses, and that no secret is shown."""

from pathlib import Path
from typing import Any

import pytest

from contracts.notifications import Channel
from services.kit.settings import SettingsInvalid, load_settings
from services.notifications.senders.file_sink import FileSink
from services.notifications.senders.lanes import lanes_from
from services.notifications.senders.signed_http import SignedHttp
from services.notifications.senders.smtp import Smtp
from services.notifications.settings import SenderSettings
from tests.notifications.providers import SECRET

COMPLETE = {
    "ENTAS_ENVIRONMENT": "test",
    "ENTAS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "ENTAS_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "ENTAS_TOKEN_ISSUER": "https://issuer.entas.test",
    "ENTAS_JWKS_URL": "https://issuer.entas.test/jwks",
}
WHATSAPP = {"ENTAS_SENDER_WHATSAPP": "https://provider.entas.test/x", "ENTAS_SENDER_WHATSAPP_SECRET": SECRET}
MAIL = {
    "ENTAS_SENDER_EMAIL": "smtp://entas@mail.entas.test:2525",
    "ENTAS_SENDER_EMAIL_SECRET": "pass word",
    "ENTAS_SENDER_EMAIL_FROM": "Balatkop NTB <noreply@entas.test>",
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    def loaded(**changes: str) -> SenderSettings:
        for name, value in (COMPLETE | changes).items():
            monkeypatch.setenv(name, value)
        return load_settings(SenderSettings)

    return loaded


def test_each_channel_has_the_sender_that_its_address_asks_for(load: Any, tmp_path: Path):
    settings = load(**WHATSAPP, **MAIL, ENTAS_SENDER_SMS=f"file://{tmp_path}")
    lanes = lanes_from(settings)
    assert {channel: type(lane.sender) for channel, lane in lanes.items()} == {
        Channel.WHATSAPP: SignedHttp,
        Channel.SMS: FileSink,
        Channel.EMAIL: Smtp,
    }
    assert {channel: lane.sender.repeatable for channel, lane in lanes.items()} == {
        Channel.WHATSAPP: True,
        Channel.SMS: True,
        Channel.EMAIL: False,
    }
    assert len(settings.signing_secrets()) == 1


def test_without_any_sender_there_are_no_lanes(load: Any):
    assert lanes_from(load()) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ENTAS_SENDER_WHATSAPP": "smtp://mail.entas.test"}, "ENTAS_SENDER_WHATSAPP"),
        ({"ENTAS_SENDER_SMS": "ftp://provider"}, "ENTAS_SENDER_SMS"),
        ({"ENTAS_SENDER_SMS": "file://host/folder"}, "ENTAS_SENDER_SMS"),
        ({"ENTAS_SENDER_SMS": "file:relative"}, "ENTAS_SENDER_SMS"),
        ({"ENTAS_SENDER_SMS": "https://"}, "ENTAS_SENDER_SMS"),
        ({"ENTAS_SENDER_SMS": "https://provider:port/"}, "ENTAS_SENDER_SMS"),
        (WHATSAPP | {"ENTAS_SENDER_WHATSAPP_SECRET": "s3cret"}, "ENTAS_SENDER_WHATSAPP_SECRET"),
        ({"ENTAS_SENDER_WHATSAPP": "https://provider.entas.test"}, "ENTAS_SENDER_WHATSAPP_SECRET"),
        (MAIL | {"ENTAS_SENDER_EMAIL_FROM": "nobody"}, "ENTAS_SENDER_EMAIL_FROM"),
        ({"ENTAS_SENDER_EMAIL": "smtp://mail.entas.test"}, "ENTAS_SENDER_EMAIL_FROM"),
        (MAIL | {"ENTAS_SENDER_EMAIL": "smtp://mail.entas.test?starttls=perhaps"}, "ENTAS_SENDER_EMAIL"),
        ({"ENTAS_ENVIRONMENT": "production", "ENTAS_SENDER_SMS": "file:///folder"}, "ENTAS_SENDER_SMS"),
        (
            {"ENTAS_ENVIRONMENT": "production", **WHATSAPP, "ENTAS_SENDER_WHATSAPP": "http://provider/x"},
            "ENTAS_SENDER_WHATSAPP",
        ),
        (
            {"ENTAS_ENVIRONMENT": "production", **MAIL, "ENTAS_SENDER_EMAIL": "smtp://mail.entas.test?starttls=no"},
            "ENTAS_SENDER_EMAIL",
        ),
    ],
)
def test_what_cannot_work_or_is_not_safe_is_refused_by_the_variables_name(
    load: Any, changes: dict[str, str], told: str
):
    with pytest.raises(SettingsInvalid) as invalid:
        load(**changes)
    assert f"{told}:" in str(invalid.value)
    for name, value in changes.items():
        if name.endswith("_SECRET"):
            assert value not in str(invalid.value)


def test_behind_something_that_encrypts_plain_text_is_allowed(load: Any):
    plain = {"ENTAS_ENVIRONMENT": "production", "ENTAS_ALLOW_HTTP": "true", **WHATSAPP}
    assert load(**plain | {"ENTAS_SENDER_WHATSAPP": "http://provider/x"}).sender_whatsapp == "http://provider/x"


def test_addresses_and_secrets_are_not_in_the_settings_text(load: Any):
    text = repr(load(**WHATSAPP, **MAIL))
    for hidden in (SECRET, "pass word", "provider.entas.test", "mail.entas.test"):
        assert hidden not in text
