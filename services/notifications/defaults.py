"""What a fresh system may adopt: this project's own rules and words, which no regulation asks for.

Bahasa Indonesia as people in the field write to each other. No message carries a NIK or asks for one: false aid forms
harvest them.
"""

from contracts.notifications import Channel, Recipient
from services.notifications.rules.decisions import AdoptRule
from services.notifications.templates.decisions import AdoptTemplate

_SOURCE = "project default"
_TO_PARTICIPANTS = (Channel.WHATSAPP, Channel.SMS, Channel.EMAIL)
_TO_FACILITATORS = (Channel.WHATSAPP, Channel.EMAIL, Channel.SMS)

TEMPLATES_TO_ADOPT = (
    AdoptTemplate(
        template_id="enrolment",
        subject_id="Anda mendapat tempat di pelatihan {course}",
        subject_en="You have a place in the training {course}",
        text_id="Halo {name}, selamat! Anda mendapat tempat di pelatihan {course}, angkatan {cohort}. Pelatihan "
        "berlangsung {days} hari, dari {starts_on} sampai {ends_on}, di {venue}. Kabari pendamping Anda paling lambat "
        "{confirm_by} bahwa Anda akan datang; setelah itu tempat diberikan kepada orang lain. Pelatihan ini gratis. "
        "Kami tidak pernah meminta NIK atau uang lewat pesan.",
        text_en="Hello {name}, congratulations! You have a place in the training {course}, cohort {cohort}. It meets "
        "on {days} days, from {starts_on} to {ends_on}, at {venue}. Please tell your facilitator by {confirm_by} that "
        "you will come; after that the place goes to somebody else. The training is free of charge. We never ask for "
        "your national id or for money in a message.",
    ),
    AdoptTemplate(
        template_id="replacement",
        subject_id="Ada tempat untuk Anda di pelatihan {course}",
        subject_en="There is a place for you in the training {course}",
        text_id="Halo {name}, ada tempat kosong di pelatihan {course}, angkatan {cohort}, dan sekarang giliran Anda. "
        "Pelatihan berlangsung dari {starts_on} sampai {ends_on}, di {venue}. Kabari pendamping Anda paling lambat "
        "{confirm_by} bahwa Anda akan datang. Pelatihan ini gratis. Kami tidak pernah meminta NIK atau uang lewat "
        "pesan.",
        text_en="Hello {name}, a place in the training {course}, cohort {cohort}, has become free, and it is your "
        "turn. It meets from {starts_on} to {ends_on}, at {venue}. Please tell your facilitator by {confirm_by} that "
        "you will come. The training is free of charge. We never ask for your national id or for money in a message.",
    ),
    AdoptTemplate(
        template_id="reminder",
        subject_id="Pelatihan {course} dimulai {starts_on}",
        subject_en="The training {course} begins on {starts_on}",
        text_id="Halo {name}, pelatihan {course} dimulai {starts_on} di {venue}. Sampai jumpa! Jika Anda tidak bisa "
        "datang, segera kabari pendamping Anda.",
        text_en="Hello {name}, the training {course} begins on {starts_on} at {venue}. See you there! If you cannot "
        "come, please tell your facilitator soon.",
    ),
    AdoptTemplate(
        template_id="completion",
        subject_id="Selamat, Anda lulus pelatihan {course}",
        subject_en="Congratulations on completing the training {course}",
        text_id="Selamat {name}! Anda lulus pelatihan {course} dengan kehadiran {attendance_percent} persen. "
        "Sertifikat Anda diserahkan oleh pendamping. Kami akan berkunjung lagi untuk mendengar kabar usaha Anda.",
        text_en="Congratulations, {name}! You have completed the training {course} with {attendance_percent} per cent "
        "attendance. Your facilitator will hand over the certificate. We will visit you again to hear how you are "
        "doing.",
    ),
    AdoptTemplate(
        template_id="visit-assigned",
        subject_id="Kunjungan verifikasi sampai {due_on}",
        subject_en="Verification visit by {due_on}",
        text_id="Halo {name}, mohon kunjungi {participant} di {area} untuk verifikasi, paling lambat {due_on}. "
        "Penugasan ini dicatat {told_on} pukul {told_at} WITA.",
        text_en="Hello {name}, please visit {participant} in {area} for verification, by {due_on}. This was assigned "
        "on {told_on} at {told_at} WITA.",
    ),
    AdoptTemplate(
        template_id="follow-up-due",
        subject_id="Kunjungan lanjutan sampai {visit_by}",
        subject_en="Follow-up visit by {visit_by}",
        text_id="Halo {name}, sudah {follow_up} bulan sejak {participant} di {area} lulus pelatihan. Mohon kunjungi "
        "dan catat kabarnya paling lambat {visit_by}.",
        text_en="Hello {name}, {follow_up} month(s) have passed since {participant} in {area} completed the training. "
        "Please visit and record how they are doing, by {visit_by}.",
    ),
)

RULES_TO_ADOPT = (
    AdoptRule(
        rule_id="enrolment",
        fact="training.ParticipantEnrolled",
        recipient=Recipient.PARTICIPANT,
        template_id="enrolment",
        channels=_TO_PARTICIPANTS,
        tell_within_hours=48,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="replacement",
        fact="training.ParticipantReplaced",
        recipient=Recipient.PARTICIPANT,
        template_id="replacement",
        channels=_TO_PARTICIPANTS,
        tell_within_hours=48,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="reminder",
        fact="training.ParticipantEnrolled",
        recipient=Recipient.PARTICIPANT,
        template_id="reminder",
        channels=_TO_PARTICIPANTS,
        remind_days_before=2,
        tell_within_hours=36,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="reminder-replacement",
        fact="training.ParticipantReplaced",
        recipient=Recipient.PARTICIPANT,
        template_id="reminder",
        channels=_TO_PARTICIPANTS,
        remind_days_before=2,
        tell_within_hours=36,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="completion",
        fact="training.ParticipantCompleted",
        recipient=Recipient.PARTICIPANT,
        template_id="completion",
        channels=_TO_PARTICIPANTS,
        tell_within_hours=168,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="visit-assigned",
        fact="registry.VerificationAssigned",
        recipient=Recipient.FACILITATOR,
        template_id="visit-assigned",
        channels=_TO_FACILITATORS,
        tell_within_hours=72,
        source=_SOURCE,
    ),
    AdoptRule(
        rule_id="follow-up-due",
        fact="outcomes.FollowUpDue",
        recipient=Recipient.FACILITATOR,
        template_id="follow-up-due",
        channels=_TO_FACILITATORS,
        tell_within_hours=168,
        source=_SOURCE,
    ),
)
