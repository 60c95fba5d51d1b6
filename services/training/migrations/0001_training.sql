-- Training: what it knows of the registry's people and households, and its own programmes, cohorts and lists.
-- Ids and area codes are compared byte by byte (COLLATE "C"): then an area is one range, from "52.01" to "52.01/".

-- --- The registry's facts, as far as training needs them ---------------------------------------------------------

CREATE TABLE candidate (
    participant_id text COLLATE "C" PRIMARY KEY,
    version        bigint      NOT NULL,
    area_code      text COLLATE "C" NOT NULL,
    household_id   text        NOT NULL,
    status         text        NOT NULL,
    sex            text        NOT NULL,
    age_band       text        NOT NULL,
    adult          boolean     NOT NULL,
    can_leave_home boolean     NOT NULL,
    reachable      boolean     NOT NULL,
    verified_at    timestamptz,
    expires_at     timestamptz,
    score          bigint      NOT NULL,
    priority       jsonb,
    sealed         text,
    sealed_by      text
);
-- The pool, in the order in which it is chosen from.
CREATE INDEX candidate_by_priority ON candidate (score DESC, participant_id) WHERE status = 'verified' AND adult;
CREATE INDEX candidate_by_area ON candidate (area_code) WHERE status = 'verified' AND adult;
SELECT kit_secure_by_area('candidate');

CREATE TABLE demand (
    household_id text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    status       text   NOT NULL,
    decile       bigint NOT NULL,
    percentile   bigint,
    people       bigint NOT NULL
);
CREATE INDEX demand_by_area ON demand (area_code) INCLUDE (people) WHERE status = 'listed';
SELECT kit_secure_by_area('demand');

-- --- Programmes, rules, cohorts: they say nothing about a person (their facts are classed Open) -------------------

CREATE TABLE programme (
    programme_id text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    name         text   NOT NULL,
    year         bigint NOT NULL,
    status       text   NOT NULL
);
SELECT kit_readable('programme');

CREATE TABLE course (
    programme_id text COLLATE "C" NOT NULL,
    course_id    text COLLATE "C" NOT NULL,
    title        text   NOT NULL,
    lesson_hours bigint NOT NULL,
    units        jsonb  NOT NULL,
    PRIMARY KEY (programme_id, course_id)
);
SELECT kit_readable('course');

CREATE TABLE quota (
    programme_id text COLLATE "C" NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    places       bigint NOT NULL,
    PRIMARY KEY (programme_id, area_code)
);
SELECT kit_readable('quota');

CREATE TABLE rule (
    rule_id      text COLLATE "C" PRIMARY KEY,
    version      bigint      NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    rule_version bigint      NOT NULL,
    kind         text        NOT NULL,
    definition   jsonb       NOT NULL,
    source       text        NOT NULL,
    adopted_at   timestamptz NOT NULL,
    earlier      jsonb       NOT NULL
);
SELECT kit_readable('rule');

-- Not by area: who lives in one kabupaten is trained in another, and has to find the class.
CREATE TABLE cohort (
    cohort_id         text COLLATE "C" PRIMARY KEY,
    version           bigint NOT NULL,
    area_code         text COLLATE "C" NOT NULL,
    number            text COLLATE "C" NOT NULL,
    programme_id      text COLLATE "C" NOT NULL,
    course_id         text COLLATE "C" NOT NULL,
    course_title      text   NOT NULL,
    capacity          bigint NOT NULL,
    delivery_mode     text   NOT NULL,
    venue             text   NOT NULL,
    days              jsonb  NOT NULL,
    starts_on         date   NOT NULL,
    ends_on           date   NOT NULL,
    confirm_by        date   NOT NULL,
    status            text   NOT NULL,
    enrolled          bigint NOT NULL,
    waitlisted        bigint NOT NULL,
    days_recorded     jsonb  NOT NULL,
    completed         bigint NOT NULL,
    not_completed     bigint NOT NULL,
    completed_on      date,
    cancelled_because text
);
CREATE INDEX cohort_by_number ON cohort (number);
CREATE INDEX cohort_by_start ON cohort (starts_on, cohort_id);
CREATE INDEX cohort_by_programme ON cohort (programme_id);
CREATE INDEX cohort_to_start ON cohort (starts_on) WHERE status = 'planned';
SELECT kit_readable('cohort');

-- --- The lists: by the area where the participant lives ------------------------------------------------------------

CREATE TABLE enrolment (
    cohort_id             text COLLATE "C" NOT NULL,
    participant_id        text COLLATE "C" NOT NULL,
    area_code             text COLLATE "C" NOT NULL,
    status                text   NOT NULL,
    place                 bigint,
    replaces              text,
    score                 bigint NOT NULL,
    priority              jsonb  NOT NULL,
    confirm_by            date,
    enrolled_at           timestamptz,
    confirmed_at          timestamptz,
    withdrawn_because     text,
    sealed                text,
    sealed_by             text,
    attendance            jsonb  NOT NULL,
    days_present          bigint NOT NULL,
    days_absent           bigint NOT NULL,
    days_excused          bigint NOT NULL,
    pre_test              bigint,
    post_test             bigint,
    units                 jsonb  NOT NULL,
    attendance_percent    bigint,
    not_completed_because text,
    rule_id               text,
    rule_version          bigint,
    certificate_number    text,
    letter_number         text,
    PRIMARY KEY (cohort_id, participant_id)
);
CREATE INDEX enrolment_by_participant ON enrolment (participant_id);
CREATE INDEX enrolment_to_confirm ON enrolment (confirm_by) WHERE status = 'enrolled';
SELECT kit_secure_by_area('enrolment');
