-- What other agencies did for people, the cooperatives that took them in, and partner messages that were rejected.

-- By the area it was reported to, the province: whom an intervention concerns may not be known.
CREATE TABLE intervention (
    intervention_id    text COLLATE "C" PRIMARY KEY,
    version            bigint      NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    status             text        NOT NULL,
    kind               text        NOT NULL,
    system             text        NOT NULL,
    given_on           date        NOT NULL,
    amount_rupiah      bigint,
    scheme             text,
    cooperative_number text,
    reported_at        timestamptz NOT NULL,
    participant_id     text COLLATE "C",
    matched_by         text,
    because            text,
    sealed             text,
    sealed_by          text
);
CREATE INDEX intervention_to_match ON intervention (reported_at, intervention_id) WHERE status = 'reported';
CREATE INDEX intervention_to_review ON intervention (reported_at, intervention_id) WHERE status = 'unmatched';
CREATE INDEX intervention_by_age ON intervention (reported_at, intervention_id);
CREATE INDEX intervention_by_participant ON intervention (participant_id) WHERE participant_id IS NOT NULL;
SELECT kit_secure_by_area('intervention');

-- Whoever sees a case sees what was done for the participant: the policy asks for the case as the reader sees it.
CREATE TABLE case_intervention (
    case_id            text COLLATE "C" NOT NULL,
    intervention_id    text COLLATE "C" NOT NULL,
    kind               text        NOT NULL,
    system             text        NOT NULL,
    given_on           date        NOT NULL,
    amount_rupiah      bigint,
    scheme             text,
    cooperative_number text,
    recorded_at        timestamptz NOT NULL,
    PRIMARY KEY (case_id, intervention_id)
);
ALTER TABLE case_intervention ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader_sees_own_cases ON case_intervention FOR SELECT TO entas_reader
    USING (EXISTS (SELECT FROM case_file c WHERE c.case_id = case_intervention.case_id));
SELECT kit_readable('case_intervention');

-- Decided interventions whose numbers' keys are to be destroyed. Outside the fold: rows come with the decision and go
-- once the key is gone.
CREATE TABLE number_to_forget (
    intervention_id text COLLATE "C" PRIMARY KEY
);

-- Cooperatives are no persons, and are shown to whoever may read. Whom they took in is told by number alone.
CREATE TABLE cooperative (
    cooperative_number text COLLATE "C" PRIMARY KEY,
    version            bigint NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    name               text,
    meeting_year       bigint,
    meeting_held_on    date,
    members            bigint,
    net_surplus_rupiah bigint,
    recruited          bigint NOT NULL
);
CREATE INDEX cooperative_by_area ON cooperative (area_code);
SELECT kit_readable('cooperative');

CREATE TABLE cooperative_member (
    cooperative_number text COLLATE "C" NOT NULL,
    participant_id     text COLLATE "C" NOT NULL,
    intervention_id    text NOT NULL,
    joined_on          date NOT NULL,
    PRIMARY KEY (cooperative_number, participant_id)
);

CREATE TABLE rejection (
    rejection_id     text COLLATE "C" PRIMARY KEY,
    version          bigint      NOT NULL,
    area_code        text        NOT NULL,
    system           text        NOT NULL,
    message_id       text,
    message_type     text,
    record_partition bigint      NOT NULL,
    record_offset    bigint      NOT NULL,
    faults           jsonb       NOT NULL,
    rejected_at      timestamptz NOT NULL
);
CREATE INDEX rejection_by_system ON rejection (system, rejection_id);
SELECT kit_readable('rejection');
