-- Signed statements about the log: how large it was, what its root was, and what had been folded of others by then.

CREATE TABLE checkpoint (
    tree_size    bigint      PRIMARY KEY,  -- events sealed
    root         bytea       NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now(),
    counts       jsonb       NOT NULL,     -- topic -> events sealed on it
    tails        jsonb       NOT NULL,     -- "topic/partition" -> last sequence, as sealed_batch.tails
    cursors      jsonb       NOT NULL,     -- "topic/partition" -> {"next_offset": n, "last_sequence": n}, read in the same transaction
    note         text        NOT NULL,     -- the signed note (C2SP), exactly as published
    published_at timestamptz,              -- Kafka has it
    witnessed_at timestamptz               -- the witness has it
);
CREATE INDEX checkpoint_unpublished ON checkpoint (tree_size) WHERE published_at IS NULL;
CREATE INDEX checkpoint_unwitnessed ON checkpoint (tree_size) WHERE witnessed_at IS NULL;

-- What was signed stays; only that it was handed on is noted later.
CREATE TRIGGER checkpoint_is_append_only BEFORE UPDATE OF tree_size, root, made_at, counts, tails, cursors, note ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION kit_refuse_change();
CREATE TRIGGER checkpoint_stays BEFORE DELETE OR TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION kit_refuse_change();

-- Readers of the log ask for the batch that holds a sequence.
CREATE UNIQUE INDEX sealed_batch_by_first ON sealed_batch (first_sequence);
