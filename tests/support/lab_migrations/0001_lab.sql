CREATE TABLE counter (
    counter_id text PRIMARY KEY,
    version    bigint NOT NULL,
    area_code  text   NOT NULL,
    times      bigint NOT NULL,
    total      bigint NOT NULL,
    sealed     text,
    sealed_by  text
);
SELECT kit_secure_by_area('counter');
CREATE TABLE part (
    counter_id text   NOT NULL,
    part       text   NOT NULL,
    total      bigint NOT NULL,
    PRIMARY KEY (counter_id, part)
);
CREATE TABLE rejection (
    rejection_id     text   PRIMARY KEY,
    version          bigint NOT NULL,
    area_code        text   NOT NULL,
    message_id       text,
    record_partition bigint NOT NULL,
    record_offset    bigint NOT NULL,
    faults           jsonb  NOT NULL
);
CREATE TABLE person_key (
    subject_id text PRIMARY KEY,
    wrapped    bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz
);
-- What is due at an instant: outside the fold, for timers.
CREATE TABLE reminder (
    reminder_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    counter_id  text        NOT NULL,
    due_at      timestamptz NOT NULL,
    done_by     text
);
