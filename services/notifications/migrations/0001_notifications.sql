-- What notifications keeps: projections of participants, cohorts and cases, its rules and templates, and the ledger.
-- Ids and area codes are compared byte by byte (COLLATE "C"): then an area is one range, from "52.01" to "52.01/".

-- --- Others' facts, as far as messages need them ------------------------------------------------------------------

CREATE TABLE person (
    participant_id text COLLATE "C" PRIMARY KEY,
    version        bigint NOT NULL,
    area_code      text COLLATE "C" NOT NULL,
    status         text   NOT NULL,
    assigned_by    text,
    sealed         text,
    sealed_by      text
);
SELECT kit_secure_by_area('person');

-- Not by area: who lives in one kabupaten is trained in another.
CREATE TABLE cohort (
    cohort_id    text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    number       text   NOT NULL,
    course_title text   NOT NULL,
    venue        text   NOT NULL,
    days         jsonb  NOT NULL,
    status       text   NOT NULL
);
SELECT kit_readable('cohort');

CREATE TABLE placement (
    cohort_id      text COLLATE "C" NOT NULL,
    participant_id text COLLATE "C" NOT NULL,
    area_code      text COLLATE "C" NOT NULL,
    status         text   NOT NULL,
    given_by       text   NOT NULL,
    PRIMARY KEY (cohort_id, participant_id)
);
SELECT kit_secure_by_area('placement');

CREATE TABLE case_file (
    case_id   text COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    due       jsonb  NOT NULL
);
SELECT kit_secure_by_area('case_file');

-- --- Rules and templates: they say nothing about a person ----------------------------------------------------------

CREATE TABLE template (
    template_id text COLLATE "C" PRIMARY KEY,
    version     bigint NOT NULL,
    area_code   text COLLATE "C" NOT NULL,
    versions    jsonb  NOT NULL
);
SELECT kit_readable('template');

CREATE TABLE rule (
    rule_id   text COLLATE "C" PRIMARY KEY,
    version   bigint NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    fact      text   NOT NULL,
    recipient text   NOT NULL,
    versions  jsonb  NOT NULL
);
SELECT kit_readable('rule');

-- --- Contacts and deliveries: by the area where the person lives, or works ------------------------------------------

CREATE TABLE contact (
    subject_id text COLLATE "C" PRIMARY KEY,
    version    bigint      NOT NULL,
    area_code  text COLLATE "C" NOT NULL,
    opted_out  boolean     NOT NULL,
    language   text        NOT NULL,
    channels   jsonb       NOT NULL,
    changed_at timestamptz NOT NULL,
    sealed     text,
    sealed_by  text
);
SELECT kit_secure_by_area('contact');

CREATE TABLE delivery (
    notification_id    text COLLATE "C" PRIMARY KEY,
    version            bigint      NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    status             text        NOT NULL,
    rule_id            text COLLATE "C" NOT NULL,
    rule_version       bigint      NOT NULL,
    template_id        text        NOT NULL,
    template_version   bigint      NOT NULL,
    recipient          text        NOT NULL,
    recipient_id       text COLLATE "C" NOT NULL,
    participant_id     text COLLATE "C" NOT NULL,
    about_id           text        NOT NULL,
    about_stream       text COLLATE "C" NOT NULL,
    told               jsonb       NOT NULL,
    requested_at       timestamptz NOT NULL,
    send_after         timestamptz NOT NULL,
    send_before        timestamptz NOT NULL,
    next_at            timestamptz NOT NULL,
    attempt            bigint      NOT NULL,
    channel            text,
    repeatable         boolean     NOT NULL,
    sending_by         text,
    in_doubt           boolean     NOT NULL,
    refused            jsonb       NOT NULL,
    because            text,
    provider_reference text,
    sent_at            timestamptz,
    delivered_at       timestamptz
);
CREATE INDEX delivery_due ON delivery (next_at, notification_id) WHERE status = 'requested';
CREATE INDEX delivery_old_news ON delivery (send_before, notification_id) WHERE status = 'requested';
CREATE INDEX delivery_under_way ON delivery (notification_id) WHERE status = 'sending';
CREATE INDEX delivery_by_stream ON delivery (about_stream);
CREATE INDEX delivery_by_participant ON delivery (participant_id, requested_at DESC);
CREATE INDEX delivery_by_recipient ON delivery (recipient_id, requested_at DESC);
CREATE INDEX delivery_by_request ON delivery (requested_at DESC, notification_id DESC);
SELECT kit_secure_by_area('delivery');

-- What waits for the end of quiet hours, or for a channel whose provider is busy or away. Outside the fold: it says in
-- what order work is done, and may be emptied at any time.
CREATE TABLE put_off (
    notification_id text COLLATE "C" PRIMARY KEY,
    until           timestamptz,
    channel         text
);
CREATE INDEX put_off_by_channel ON put_off (channel);
