"""Which rules, templates and contacts are adopted, and which are refused with what to do about it."""

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.envelope import EVENTS
from contracts.notifications import Channel, ContactDetails, ContactPreferenceChanged, Recipient
from services.kit.refusal import Refused
from services.notifications.contacts import decisions as contacts
from services.notifications.contacts.decisions import ChangeContact
from services.notifications.defaults import RULES_TO_ADOPT, TEMPLATES_TO_ADOPT
from services.notifications.facts import FACTS, name_of
from services.notifications.people.state import PERSONS
from services.notifications.rules import decisions as rules
from services.notifications.rules.decisions import AdoptRule
from services.notifications.rules.state import RULES
from services.notifications.templates import decisions as templates
from services.notifications.templates.decisions import AdoptTemplate
from services.notifications.templates.state import TEMPLATES
from tests.notifications.facts import NIK, VILLAGE, Story, adopted, defaults, nominated, worded
from tests.notifications.test_deliveries import erased
from tests.notifications.test_texts import DISGUISES

ENROLMENT, *_ = RULES_TO_ADOPT
WORDS, *_ = TEMPLATES_TO_ADOPT


def rule(**changes: Any) -> AdoptRule:
    return AdoptRule.model_validate(ENROLMENT.model_dump() | changes)


def words(**changes: Any) -> AdoptTemplate:
    return AdoptTemplate.model_validate(WORDS.model_dump() | changes)


def refusal(story: Story, command: AdoptRule) -> Refused:
    with pytest.raises(Refused) as refused:
        rules.adopt(story.row(RULES, command.rule_id), story.row(TEMPLATES, command.template_id), command)
    return refused.value


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_is_adopted_and_the_same_again_changes_nothing():
    story = Story(worded("enrolment"))
    [event] = rules.adopt(None, story.the(TEMPLATES, "enrolment"), rule())
    assert event == adopted("enrolment")
    story.given(event)
    same = rules.adopt(story.the(RULES, "enrolment"), story.the(TEMPLATES, "enrolment"), rule())
    assert same == []
    [later] = rules.adopt(
        story.the(RULES, "enrolment"), story.the(TEMPLATES, "enrolment"), rule(channels=["email"], active=False)
    )
    assert later == adopted("enrolment", rule_version=2, channels=(Channel.EMAIL,), active=False)


@pytest.mark.parametrize(
    "name", sorted(name_of(e) for e in EVENTS.values() if e.topic in ("registry.households", "registry.snapshots"))
)
def test_nobody_is_told_of_bulk_listing(name: str):
    assert refusal(Story(*defaults()), rule(rule_id="bulk", fact=name)).code == "bulk-fact"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rule_id": "new", "fact": "training.CohortPlanned"}, "unknown-fact"),
        ({"rule_id": "new", "fact": "training.ParticipantEnrolled.v1"}, "unknown-fact"),
        ({"rule_id": "new", "fact": ""}, "unknown-fact"),
        ({"rule_id": "new", "recipient": "facilitator"}, "nobody-to-tell"),
        ({"rule_id": "new", "template_id": "nonsense"}, "no-such-template"),
        ({"rule_id": "new", "template_id": "visit-assigned"}, "template-unfit"),
        ({"rule_id": "new", "template_id": "completion"}, "template-unfit"),
        ({"fact": "training.ParticipantReplaced"}, "rule-tells-another-fact"),
        (
            {"rule_id": "new", "fact": "training.ParticipantCompleted", "remind_days_before": 2},
            "no-day-to-remind-of",
        ),
        ({"rule_id": "new", "quiet_from": "07:00", "quiet_until": "06:00"}, "too-quiet"),
    ],
)
def test_a_rule_that_cannot_be_right_is_refused(changes: dict[str, Any], code: str):
    refused = refusal(Story(*defaults()), rule(**changes))
    assert refused.code == code
    assert refused.remedy or refused.fields[0].remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": []},
        {"channels": ["sms", "sms"]},
        {"channels": ["pigeon"]},
        {"quiet_from": "24:00"},
        {"quiet_until": "7:00"},
        {"remind_days_before": 0},
        {"tell_within_hours": 0},
        {"tell_within_hours": 721},
        {"rule_id": "Enrolment!"},
        {"recipient": "everybody"},
        {"source": " "},
        {"nik": NIK},
    ],
)
def test_a_malformed_rule_is_refused_without_quoting_it(changes: dict[str, Any]):
    with pytest.raises(ValidationError) as error:
        rule(**changes)
    assert NIK not in str(error.value)


def test_every_default_rule_can_be_adopted_after_its_template():
    story = Story()
    for template in TEMPLATES_TO_ADOPT:
        story.given(*templates.adopt(None, [], template))
    for command in RULES_TO_ADOPT:
        story.given(*rules.adopt(None, story.row(TEMPLATES, command.template_id), command))
    assert {story.the(RULES, command.rule_id).fact for command in RULES_TO_ADOPT} == set(FACTS)


# --- Templates --------------------------------------------------------------------------------------------------------


def test_a_template_is_adopted_and_the_same_again_changes_nothing():
    story = Story(*templates.adopt(None, [], WORDS))
    assert templates.adopt(story.the(TEMPLATES, "enrolment"), [], WORDS) == []
    [later] = templates.adopt(story.the(TEMPLATES, "enrolment"), [], words(subject_en="Good news"))
    assert later == worded("enrolment", template_version=2, subject_en="Good news")


def unfit(command: AdoptTemplate, story: Story | None = None) -> set[str]:
    using = [] if story is None else [story.the(RULES, "enrolment")]
    with pytest.raises(Refused) as refused:
        templates.adopt(None, using, command)
    assert all(problem.remedy for problem in refused.value.fields)
    return {problem.field for problem in refused.value.fields}


@pytest.mark.parametrize("field", ["subject_id", "subject_en", "text_id", "text_en"])
@pytest.mark.parametrize("disguise", [d for d in DISGUISES if d.isprintable()])
def test_no_template_can_hold_a_national_id(field: str, disguise: str):
    assert f"body.{field}" in unfit(words(**{field: f"Halo {disguise}"}))


@pytest.mark.parametrize(
    "text", ["{nik}", "{name.first}", "{0}", "{name!r}", "{name:>9}", "{{name}}", "{", "}", "{Name}", "{ name }", "{}"]
)
def test_a_template_has_known_places_only(text: str):
    assert {"body.text_id", "body.text_en"} <= unfit(words(text_id=f"Halo {text}", text_en=f"Hello {text}"))


def test_both_languages_have_the_same_places():
    assert unfit(words(text_en="Hello {name}")) == {"body.text_en"}


def test_a_template_in_use_gets_no_place_that_its_rules_have_no_value_for():
    command = words(text_id="Halo {name}, {due_on}", text_en="Hello {name}, {due_on}")
    assert templates.adopt(None, [], command)
    assert unfit(command, Story(*defaults())) == {"body.text_id"}


@pytest.mark.parametrize(
    "changes", [{"text_en": ""}, {"text_id": "a\x00b"}, {"subject_id": "a\nb"}, {"text_id": "x" * 1001}]
)
def test_a_template_needs_both_languages_in_plain_text(changes: dict[str, Any]):
    with pytest.raises(ValidationError):
        words(**changes)


# --- Contacts ---------------------------------------------------------------------------------------------------------


def test_a_participants_contact_is_sealed_under_their_own_key_and_a_facilitators_under_one_of_ours():
    command = ChangeContact.model_validate({"phone": "0812-3456-7890", "email": "sari@example.org"})
    for subject, key in (("sari", "sari"), ("staff:facilitator-1", "notifications:staff:facilitator-1")):
        [event] = contacts.change(subject, VILLAGE, command)
        assert isinstance(event, ContactPreferenceChanged)
        assert event.personal == {key: ContactDetails(phone="+6281234567890", email="sari@example.org")}


def test_who_only_opts_out_has_nothing_sealed():
    [event] = contacts.change("sari", VILLAGE, ChangeContact(opted_out=True))
    assert isinstance(event, ContactPreferenceChanged)
    assert (event.opted_out, event.personal) == (True, {})


def test_a_contact_belongs_to_somebody_known_in_a_known_area():
    story = Story(nominated("sari"), nominated("dewi"), erased("dewi"))
    staff = ChangeContact(area_code="52.01")
    assert contacts.area_of("sari", story.the(PERSONS, "sari"), ChangeContact()) == VILLAGE
    assert contacts.area_of("staff:x", None, staff) == "52.01"
    for subject, command, status in (
        ("nobody", ChangeContact(), 404),
        ("dewi", ChangeContact(), 409),
        ("sari", staff, 422),
        ("staff:x", ChangeContact(), 422),
        ("staff:x", ChangeContact(area_code="99"), 422),
    ):
        with pytest.raises(Refused) as refused:
            contacts.area_of(subject, story.row(PERSONS, subject), command)
        assert refused.value.status == status


@pytest.mark.parametrize(
    "changes",
    [
        {"phone": "911"},
        {"phone": NIK},
        {"phone": "+62 812 3456 7890 1234 5678"},
        {"phone": "tel:0812"},
        {"email": "sari"},
        {"email": "sari@localhost"},
        {"email": "sari@example.org\r\nBcc: x@example.org"},
        {"email": "a..b@example.org"},
        {"email": '"a b"@example.org'},
        {"email": f"{'x' * 65}@example.org"},
        {"name": "a\nb"},
        {"language": "fr"},
        {"channels": ["sms", "sms"]},
    ],
)
def test_a_malformed_contact_is_refused_without_quoting_it(changes: dict[str, Any]):
    with pytest.raises(ValidationError) as error:
        ChangeContact.model_validate(changes)
    for value in changes.values():
        assert str(value) not in str(error.value)


def test_the_recipients_of_a_rule_are_those_whom_its_fact_names():
    assert {fact: set(kind.recipients) for fact, kind in FACTS.items()} == {
        "training.ParticipantEnrolled": {Recipient.PARTICIPANT},
        "training.ParticipantReplaced": {Recipient.PARTICIPANT},
        "training.ParticipantCompleted": {Recipient.PARTICIPANT},
        "registry.VerificationAssigned": {Recipient.PARTICIPANT, Recipient.FACILITATOR},
        "outcomes.FollowUpDue": {Recipient.PARTICIPANT, Recipient.FACILITATOR},
    }
