-- The registry's own tables: folded rows, the persons' keys, and the derived search index.
-- Area codes and ids compare byte by byte (COLLATE "C"), so that an area is a range of an index and pages have one order.

CREATE TABLE household (
    household_id       text COLLATE "C" PRIMARY KEY,
    version            bigint NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    status             text   NOT NULL,
    source             text   NOT NULL,
    snapshot_id        text   NOT NULL,
    dated              date   NOT NULL,
    welfare_decile     bigint NOT NULL,
    welfare_percentile bigint,
    previous_rank      jsonb,
    file_digest        text   NOT NULL,
    file_row           bigint NOT NULL,
    people             bigint NOT NULL,
    head_person_id     text,
    conditions         jsonb  NOT NULL,
    delisted_because   text,
    delisted_by        text,
    sealed             text,
    sealed_by          text,
    sealed_area        text   NOT NULL
);
CREATE INDEX household_by_area ON household (area_code, household_id);
SELECT kit_secure_by_area('household');

CREATE TABLE member (
    household_id         text COLLATE "C" NOT NULL,
    person_id            text COLLATE "C" NOT NULL,
    area_code            text COLLATE "C" NOT NULL,
    head                 boolean NOT NULL,
    sex                  text    NOT NULL,
    age_band             text    NOT NULL,
    adult                boolean NOT NULL,
    civil_registry_match boolean,
    left_because         text,
    left_on              date,
    sealed               text,
    sealed_by            text,
    PRIMARY KEY (household_id, person_id)
);
CREATE INDEX member_by_person ON member (person_id);
SELECT kit_secure_by_area('member');

CREATE TABLE participant (
    participant_id        text COLLATE "C" PRIMARY KEY,
    version               bigint  NOT NULL,
    household_id          text COLLATE "C" NOT NULL,
    area_code             text COLLATE "C" NOT NULL,
    status                text    NOT NULL,
    route                 text,
    sex                   text    NOT NULL,
    age_band              text    NOT NULL,
    adult                 boolean NOT NULL,
    facilitator_id        text,
    due_on                date,
    visits                bigint  NOT NULL,
    visit_id              text,
    visited_at            timestamptz,
    finding               text,
    willing               boolean,
    can_leave_home        boolean,
    situation_changed     boolean,
    reachable             boolean,
    conditions            jsonb,
    verified_at           timestamptz,
    expires_at            timestamptz,
    priority              jsonb,
    priority_score        bigint,
    priority_rule_version bigint,
    rejection             text,
    sealed                text,
    sealed_by             text
);
CREATE INDEX participant_by_area ON participant (area_code, participant_id);
CREATE INDEX participant_to_visit ON participant (facilitator_id, participant_id) WHERE status IN ('assigned', 'visited');
CREATE INDEX participant_to_expire ON participant (expires_at) WHERE status = 'verified';
CREATE INDEX participant_by_priority_rule ON participant (priority_rule_version) WHERE status = 'verified';
SELECT kit_secure_by_area('participant');

CREATE TABLE visit (
    participant_id    text COLLATE "C" NOT NULL,
    visit_id          text COLLATE "C" NOT NULL,
    area_code         text COLLATE "C" NOT NULL,
    facilitator_id    text        NOT NULL,
    captured_at       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL,
    finding           text        NOT NULL,
    willing           boolean     NOT NULL,
    can_leave_home    boolean     NOT NULL,
    situation_changed boolean     NOT NULL,
    reachable         boolean     NOT NULL,
    conditions        jsonb,
    sealed            text,
    sealed_by         text,
    PRIMARY KEY (participant_id, visit_id)
);
SELECT kit_secure_by_area('visit');

CREATE TABLE rule (
    rule_id      text PRIMARY KEY,
    version      bigint      NOT NULL,
    area_code    text        NOT NULL,
    kind         text        NOT NULL,
    rule_version bigint      NOT NULL,
    definition   jsonb       NOT NULL,
    source       text        NOT NULL,
    adopted_at   timestamptz NOT NULL,
    earlier      jsonb       NOT NULL
);
SELECT kit_readable('rule');

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

-- The keys of persons and households, wrapped under the master key. An erased subject keeps its row without a key.
CREATE TABLE person_key (
    subject_id text PRIMARY KEY,
    wrapped    bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz,
    CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
);

-- The search index: derived from what is sealed, outside the fold and the proof; `reindex` makes it anew.
-- Nobody but this service's own role reads the table. Readers ask the two functions below, which know the caller's areas.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE person_search (
    person_id    text COLLATE "C" PRIMARY KEY,
    household_id text COLLATE "C" NOT NULL,
    national_id  bytea, -- HMAC-SHA256 under the pepper
    name         text NOT NULL -- small letters, no accents, single spaces
);
CREATE INDEX person_search_by_national_id ON person_search (national_id) WHERE national_id IS NOT NULL;
CREATE INDEX person_search_by_name ON person_search USING gin (name gin_trgm_ops);

-- Trigram operators are not leakproof: under row-level security they would lose their index. So these run as the owner
-- and filter the areas themselves. A person's area is their household's, in the folded row: it is never out of date here.
-- The likest come first out of the inner query, and their areas are looked at one by one until enough are found. The
-- planner believes that comparing names is as cheap as comparing numbers, so it is told to go that way.
CREATE FUNCTION people_named(wanted text, most integer)
    RETURNS TABLE (person_id text, household_id text, area_code text, likeness real)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
    SELECT s.person_id, s.household_id, m.area_code, s.likeness
    FROM (
        SELECT p.person_id, p.household_id, word_similarity(wanted, p.name) AS likeness
        FROM person_search p
        WHERE wanted <% p.name
        ORDER BY likeness DESC, p.person_id
    ) AS s
    JOIN member m ON m.household_id = s.household_id AND m.person_id = s.person_id
    WHERE kit_area_visible(m.area_code)
    ORDER BY s.likeness DESC, s.person_id
    LIMIT most
$$;

CREATE FUNCTION people_with_national_id(digest bytea)
    RETURNS TABLE (person_id text, household_id text, area_code text, likeness real)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT s.person_id, s.household_id, m.area_code, 1.0::real
    FROM person_search s
    JOIN member m ON m.household_id = s.household_id AND m.person_id = s.person_id
    WHERE s.national_id = digest
    AND kit_area_visible(m.area_code)
    ORDER BY 1
    LIMIT 50
$$;

REVOKE ALL ON FUNCTION people_named(text, integer), people_with_national_id(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION people_named(text, integer), people_with_national_id(bytea) TO entas_reader;
