-- Facts that a fold or a reaction of ours could not take, and those of the same streams that came after them.

CREATE TABLE parked (
    topic         text        NOT NULL,
    partition     smallint    NOT NULL,
    record_offset bigint      NOT NULL,
    stream        text        NOT NULL, -- the key; of a partner's message a digest under a key of the service's own
    event_id      text        NOT NULL,
    type          text        NOT NULL,
    version       integer     NOT NULL, -- of the stream
    sequence      bigint,               -- in its publisher's log; partners have none
    record        bytea       NOT NULL, -- the whole record, as JSON; sealed where a partner wrote it
    sealed_under  text,                 -- whose key opens the record
    reason        text,                 -- what failed; empty where it only waits for one before it
    parked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, record_offset)
);
CREATE INDEX parked_by_stream ON parked (topic, stream, record_offset);
