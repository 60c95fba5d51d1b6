-- Outcomes: what it knows of the registry's people and households and of training's classes, and its own cases.
-- Ids and area codes are compared byte by byte (COLLATE "C"): then an area is one range, from "52.01" to "52.01/".

-- --- The registry's facts, as far as outcomes needs them ---------------------------------------------------------

CREATE TABLE person (
    participant_id   text COLLATE "C" PRIMARY KEY,
    version          bigint NOT NULL,
    area_code        text COLLATE "C" NOT NULL,
    household_id     text COLLATE "C" NOT NULL,
    status           text   NOT NULL,
    rejected_because text,
    sex              text   NOT NULL,
    age_band         text   NOT NULL,
    facilitator_id   text,
    verified_since   timestamptz,
    visits           jsonb  NOT NULL,
    history          jsonb  NOT NULL,
    sealed           text,
    sealed_by        text
);
-- The funnel and what was rejected and why, by area.
CREATE INDEX person_by_area ON person (area_code, status, rejected_because);
CREATE INDEX person_who_ended ON person (participant_id) WHERE status IN ('rejected', 'erased');
SELECT kit_secure_by_area('person');

CREATE TABLE home (
    household_id text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    area_code    text COLLATE "C" NOT NULL,
    status       text   NOT NULL,
    people       bigint NOT NULL,
    decile       bigint NOT NULL,
    percentile   bigint,
    listed_since timestamptz NOT NULL,
    members      jsonb  NOT NULL,
    history      jsonb  NOT NULL
);
-- Counts by area are read from the index alone: the rows with their histories are wide, and there are many.
CREATE INDEX home_by_area ON home (area_code) INCLUDE (people, decile) WHERE status = 'listed';
SELECT kit_secure_by_area('home');

-- --- Training's facts ------------------------------------------------------------------------------------------------

-- Not by area: who lives in one kabupaten is trained in another. It says nothing about a person.
CREATE TABLE cohort (
    cohort_id     text COLLATE "C" PRIMARY KEY,
    version       bigint NOT NULL,
    area_code     text COLLATE "C" NOT NULL,
    number        text COLLATE "C" NOT NULL,
    programme_id  text   NOT NULL,
    course_id     text   NOT NULL,
    course_title  text   NOT NULL,
    delivery_mode text   NOT NULL,
    capacity      bigint NOT NULL,
    starts_on     date   NOT NULL,
    ends_on       date   NOT NULL,
    status        text   NOT NULL,
    completed     bigint NOT NULL,
    not_completed bigint NOT NULL,
    completed_on  date,
    completed_at  timestamptz
);
CREATE INDEX cohort_by_start ON cohort (starts_on, cohort_id);
CREATE INDEX cohort_by_course ON cohort (course_id);
SELECT kit_readable('cohort');

CREATE TABLE placement (
    cohort_id             text COLLATE "C" NOT NULL,
    participant_id        text COLLATE "C" NOT NULL,
    area_code             text COLLATE "C" NOT NULL,
    status                text   NOT NULL,
    enrolled_at           timestamptz,
    confirmed_at          timestamptz,
    withdrawn_because     text,
    attendance_percent    bigint,
    pre_test              bigint,
    post_test             bigint,
    not_completed_because text,
    PRIMARY KEY (cohort_id, participant_id)
);
CREATE INDEX placement_by_participant ON placement (participant_id);
CREATE INDEX placement_by_area ON placement (area_code, status);
SELECT kit_secure_by_area('placement');

-- --- Rules -----------------------------------------------------------------------------------------------------------

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

-- --- Cases: by the area where the participant lived when they completed ---------------------------------------------

CREATE TABLE case_file (
    case_id                text COLLATE "C" PRIMARY KEY,
    version                bigint NOT NULL,
    area_code              text COLLATE "C" NOT NULL,
    status                 text   NOT NULL,
    closed_because         text,
    closed_on              date,
    standing               text   NOT NULL,
    graduated_on           date,
    relapsed_on            date,
    turns                  jsonb  NOT NULL,
    cohort_id              text COLLATE "C" NOT NULL,
    course_id              text COLLATE "C" NOT NULL,
    delivery_mode          text   NOT NULL,
    completed_on           date   NOT NULL,
    completed_at           timestamptz NOT NULL,
    attendance_percent     bigint,
    pre_test               bigint,
    post_test              bigint,
    trainings              jsonb  NOT NULL,
    household_id           text COLLATE "C",
    baseline_people        bigint,
    baseline_decile        bigint,
    baseline_percentile    bigint,
    sex                    text,
    age_band               text,
    baseline               jsonb,
    follow_ups             jsonb  NOT NULL,
    last_follow_up         bigint,
    last_visit_at          timestamptz,
    last_per_person_rupiah bigint,
    last_above_line        boolean,
    interventions          bigint NOT NULL,
    business_units         bigint NOT NULL
);
CREATE INDEX case_file_by_completion ON case_file (completed_on, case_id);
CREATE INDEX case_file_by_area ON case_file (area_code, standing);
CREATE INDEX case_file_by_cohort ON case_file (cohort_id);
CREATE INDEX case_file_by_course ON case_file (course_id, delivery_mode);
CREATE INDEX case_file_by_household ON case_file (household_id);
-- For the timers.
CREATE INDEX case_file_without_follow_ups ON case_file (completed_at) WHERE status = 'open' AND follow_ups = '[]';
CREATE INDEX case_file_without_baseline ON case_file (case_id) WHERE baseline IS NULL;
CREATE INDEX case_file_open ON case_file (case_id) WHERE status = 'open';
SELECT kit_secure_by_area('case_file');

CREATE TABLE follow_up (
    case_id           text COLLATE "C" NOT NULL,
    months            bigint NOT NULL,
    area_code         text COLLATE "C" NOT NULL,
    status            text   NOT NULL,
    due_on            date   NOT NULL,
    missed_after      date   NOT NULL,
    plan_id           text   NOT NULL,
    plan_version      bigint NOT NULL,
    facilitator_id    text,
    visit_id          text,
    captured_at       timestamptz,
    received_at       timestamptz,
    recorded_on       date,
    late              boolean NOT NULL,
    people            bigint,
    income            jsonb  NOT NULL,
    income_rupiah     bigint,
    per_person_rupiah bigint,
    line_rupiah       bigint,
    above_line        boolean,
    livelihoods       bigint,
    needs             jsonb  NOT NULL,
    needs_met         jsonb  NOT NULL,
    business          jsonb,
    turnover_rupiah   bigint,
    workers           bigint,
    rule_id           text,
    rule_version      bigint,
    sealed            text,
    sealed_by         text,
    PRIMARY KEY (case_id, months)
);
CREATE INDEX follow_up_to_come ON follow_up (due_on, case_id, months) WHERE status = 'scheduled';
CREATE INDEX follow_up_due ON follow_up (missed_after, case_id, months) WHERE status = 'due';
CREATE INDEX follow_up_by_due_day ON follow_up (due_on, case_id, months);
CREATE INDEX follow_up_by_area ON follow_up (area_code, status);
SELECT kit_secure_by_area('follow_up');

CREATE TABLE business_unit (
    case_id            text COLLATE "C" NOT NULL,
    unit_id            text COLLATE "C" NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    status             text   NOT NULL,
    cooperative_number text COLLATE "C" NOT NULL,
    sector             text   NOT NULL,
    planned_on         date   NOT NULL,
    launch_by          date   NOT NULL,
    capital_rupiah     bigint NOT NULL,
    jobs_planned       bigint NOT NULL,
    launched_on        date,
    jobs               bigint,
    PRIMARY KEY (case_id, unit_id)
);
CREATE INDEX business_unit_by_area ON business_unit (area_code, status);
CREATE INDEX business_unit_by_cooperative ON business_unit (cooperative_number);
SELECT kit_secure_by_area('business_unit');
