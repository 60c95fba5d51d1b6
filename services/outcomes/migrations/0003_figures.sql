-- The targeting lists that came in. They say nothing of a person.

CREATE TABLE snapshot (
    snapshot_id   text COLLATE "C" PRIMARY KEY,
    version       bigint      NOT NULL,
    source        text        NOT NULL,
    dated         date        NOT NULL,
    rows          bigint      NOT NULL,
    rows_rejected bigint      NOT NULL,
    households    bigint      NOT NULL,
    people        bigint      NOT NULL,
    unresolved    bigint,
    received_at   timestamptz NOT NULL,
    applied_at    timestamptz
);
SELECT kit_readable('snapshot');

-- Which version of training's rule said that a training is completed, or is not.
ALTER TABLE placement ADD COLUMN rule_id text, ADD COLUMN rule_version bigint;

-- Every figure says what it stands on: how far the own log is sealed, and how far other services' topics are read.
GRANT SELECT (topic, partition, next_offset, last_sequence) ON cursor TO entas_reader;
GRANT SELECT (batch_no, first_sequence, size, root) ON sealed_batch TO entas_reader;
GRANT SELECT ON outbox TO entas_reader;
