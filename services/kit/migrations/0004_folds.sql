-- Which fold made the projections, and what a rebuild of them has reached.

-- Table -> version of its fold, of all tables that this service folds of the topic: with what was folded up to here.
-- It stands on the cursor's own row, so that the compare-and-set of a batch sees a rebuild that ended while it waited.
-- Empty: not known yet; the first worker that starts writes down its own.
ALTER TABLE cursor ADD COLUMN folds jsonb;

-- Unlogged, like the tables that a rebuild folds into (<table>__rebuild): a crash of the server empties all of them
-- together, so what this says was reached is always what is there. Folding is repeatable; the log need not carry it.
CREATE UNLOGGED TABLE rebuild_progress (
    topic         text     NOT NULL,
    partition     smallint NOT NULL,
    folds         jsonb    NOT NULL, -- what is being rebuilt: table -> version of the fold
    next_offset   bigint   NOT NULL,
    last_sequence bigint   NOT NULL,
    last_event_id text,
    skipped       text[]   NOT NULL DEFAULT '{}', -- streams that were parked, so that not all of their facts are folded
    PRIMARY KEY (topic, partition)
);
