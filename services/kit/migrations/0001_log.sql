-- The log and what stands around it, the same in every service's database.

CREATE TABLE log (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text        NOT NULL,
    stream         text        NOT NULL,
    version        integer     NOT NULL CHECK (version >= 1),
    partition      smallint    NOT NULL,
    type           text        NOT NULL,
    event_id       text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    actor          text        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   text,
    traceparent    text,
    area_code      text        NOT NULL,
    value          bytea       NOT NULL,
    UNIQUE (topic, stream, version)
);

-- The rows of the log that are not sent yet. Narrow on purpose: its rows come and go.
CREATE TABLE outbox (
    id bigint PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- The number that sealing gave to a row of the log, gapless from 0.
CREATE TABLE seal (
    sequence bigint PRIMARY KEY,
    id       bigint NOT NULL
);

CREATE TABLE sealed_batch (
    batch_no       bigint      PRIMARY KEY,
    first_sequence bigint      NOT NULL,
    size           integer     NOT NULL CHECK (size > 0),
    root           bytea       NOT NULL,
    frontier       bytea       NOT NULL,
    tails          jsonb       NOT NULL, -- "topic/partition" -> its last sequence, after this batch
    sealed_at      timestamptz NOT NULL DEFAULT now(),
    sent_at        timestamptz
);
CREATE UNIQUE INDEX sealed_batch_unsent ON sealed_batch (batch_no) WHERE sent_at IS NULL;

-- The Merkle tree's nodes: up to 256 hashes of one level side by side.
CREATE TABLE tile (
    level  smallint NOT NULL,
    number bigint   NOT NULL,
    hashes bytea    NOT NULL,
    PRIMARY KEY (level, number)
);

-- Where this service has read to in the topics it listens to.
CREATE TABLE cursor (
    topic         text     NOT NULL,
    partition     smallint NOT NULL,
    next_offset   bigint   NOT NULL,
    last_sequence bigint   NOT NULL, -- -1: nothing yet
    last_event_id text,
    stopped       text,              -- why the partition stands still, where it does
    PRIMARY KEY (topic, partition)
);

-- Answers to commands, so that a repeated request gets the answer of the first.
CREATE TABLE idempotency (
    principal   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    status      smallint    NOT NULL,
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Who looked at whose personal data, and what for (UU 27/2022; GovStack DRS-8).
CREATE TABLE read_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    read_at    timestamptz NOT NULL DEFAULT now(),
    subject_id text        NOT NULL,
    reader     text        NOT NULL,
    purpose    text        NOT NULL,
    fields     text[]      NOT NULL,
    correlation_id text    NOT NULL
);
CREATE INDEX read_log_by_subject ON read_log (subject_id, id);

-- What partners sent: ids seen in the last 90 days, and what could not be taken in, sealed.
CREATE TABLE partner_message (
    source      text        NOT NULL,
    message_id  text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, message_id)
);
CREATE INDEX partner_message_by_age ON partner_message (received_at);

CREATE TABLE rejected_message (
    rejection_id text        PRIMARY KEY,
    sealed       bytea       NOT NULL, -- under the service's own key for rejected messages
    received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rejected_message_by_age ON rejected_message (received_at);

-- The log is append-only, whoever asks.
CREATE FUNCTION kit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log
    FOR EACH STATEMENT EXECUTE FUNCTION kit_refuse_change();
CREATE TRIGGER seal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal
    FOR EACH STATEMENT EXECUTE FUNCTION kit_refuse_change();
CREATE TRIGGER read_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON read_log
    FOR EACH STATEMENT EXECUTE FUNCTION kit_refuse_change();

-- Reads over the API run as this role, under row-level security: a forgotten WHERE leaks nothing.
-- Its operator may have made it beforehand; then the service's own role needs no right to make roles.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'entas_reader') THEN
        CREATE ROLE entas_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- Another service in the same cluster has made it at the same moment.
END $$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'entas_reader', 'MEMBER') THEN
        EXECUTE format('GRANT entas_reader TO %I', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO entas_reader;

-- The areas of the caller stand in the setting entas.areas, by commas; "*" is the whole country, unset is nothing.
CREATE FUNCTION kit_areas() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT string_to_array(current_setting('entas.areas', true), ',')
$$;

-- Whether an area lies in the caller's. A code has levels of 2, 5, 8 and 13 characters (52, 52.01, 52.01.01 and so on),
-- so its left parts are the areas above it: whole segments alone are compared. '' is a matter of the whole country.
CREATE FUNCTION kit_area_visible(code text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (code = '' AND cardinality(kit_areas()) > 0)
        OR ARRAY['*', code, left(code, 2), left(code, 5), left(code, 8)] && kit_areas()
$$;

CREATE FUNCTION kit_readable(table_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT SELECT ON %I TO entas_reader', table_name);
END $$;

CREATE FUNCTION kit_secure_by_area(table_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
    -- The caller's areas are computed once a statement, in sub-selects, and not once a row.
    EXECUTE format(
        'CREATE POLICY reader_sees_own_areas ON %I FOR SELECT TO entas_reader USING ('
        '    (area_code = %L AND (SELECT cardinality(kit_areas()) > 0))'
        '    OR (SELECT %L = ANY (kit_areas()))'
        '    OR area_code = ANY ((SELECT kit_areas())::text[])'
        '    OR left(area_code, 2) = ANY ((SELECT kit_areas())::text[])'
        '    OR left(area_code, 5) = ANY ((SELECT kit_areas())::text[])'
        '    OR left(area_code, 8) = ANY ((SELECT kit_areas())::text[])'
        ')',
        table_name, '', '*'
    );
    PERFORM kit_readable(table_name);
END $$;
