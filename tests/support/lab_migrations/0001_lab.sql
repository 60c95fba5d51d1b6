CREATE TABLE counter (
    counter_id text PRIMARY KEY,
    version    bigint NOT NULL,
    area_code  text   NOT NULL,
    times      bigint NOT NULL,
    total      bigint NOT NULL,
    sealed     text,
    sealed_by  text
);
CREATE TABLE part (
    counter_id text   NOT NULL,
    part       text   NOT NULL,
    total      bigint NOT NULL,
    PRIMARY KEY (counter_id, part)
);
CREATE TABLE person_key (
    subject_id text PRIMARY KEY,
    wrapped    bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz
);
