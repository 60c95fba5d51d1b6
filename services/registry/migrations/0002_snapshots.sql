-- Snapshots: the folded row, and what stands outside the fold while a list comes in and is applied.

CREATE TABLE snapshot (
    snapshot_id        text COLLATE "C" PRIMARY KEY,
    version            bigint      NOT NULL,
    area_code          text COLLATE "C" NOT NULL,
    status             text        NOT NULL,
    source             text        NOT NULL,
    dated              date        NOT NULL,
    areas              jsonb       NOT NULL,
    file_name          text        NOT NULL,
    file_digest        text        NOT NULL,
    rows               bigint      NOT NULL,
    rows_rejected      bigint      NOT NULL,
    households         bigint      NOT NULL,
    people             bigint      NOT NULL,
    received_at        timestamptz NOT NULL,
    applied_at         timestamptz,
    households_on_list bigint      NOT NULL,
    people_on_list     bigint      NOT NULL,
    listed             bigint      NOT NULL,
    rank_changed       bigint      NOT NULL,
    unchanged          bigint      NOT NULL,
    delisted           bigint      NOT NULL,
    unresolved         bigint      NOT NULL
);
CREATE INDEX snapshot_by_digest ON snapshot (source, file_digest);
SELECT kit_secure_by_area('snapshot');

-- One upload, from its first byte until its snapshot is applied and its staged rows are gone.
CREATE TABLE snapshot_import (
    number         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    snapshot_id    text COLLATE "C" NOT NULL UNIQUE,
    area_code      text COLLATE "C" NOT NULL,
    stage          text        NOT NULL DEFAULT 'uploading'
                   CHECK (stage IN ('uploading', 'listing', 'delisting', 'applied', 'swept')),
    arrival        bigint      UNIQUE, -- the order in which uploads ended, which is the order in which they are applied
    wrapped_key    bytea,              -- opens the staged rows; destroyed when the snapshot is applied
    started_at     timestamptz NOT NULL DEFAULT now(),
    last_row       bigint      NOT NULL DEFAULT 0,  -- households whose first row is up to here are settled
    last_household text COLLATE "C" NOT NULL DEFAULT '', -- households up to here are looked at for delisting
    people_on_list bigint      NOT NULL DEFAULT 0,
    listed         bigint      NOT NULL DEFAULT 0,
    rank_changed   bigint      NOT NULL DEFAULT 0,
    unchanged      bigint      NOT NULL DEFAULT 0,
    unresolved     bigint      NOT NULL DEFAULT 0,
    delisted       bigint      NOT NULL DEFAULT 0
);
CREATE SEQUENCE snapshot_arrival;
CREATE INDEX snapshot_import_unfinished ON snapshot_import (arrival) WHERE stage <> 'swept';
SELECT kit_secure_by_area('snapshot_import');

-- A row of the list whose family id could be read. What it says of people is sealed under the import's own key.
CREATE TABLE snapshot_row (
    import         bigint  NOT NULL,
    row            bigint  NOT NULL, -- as a spreadsheet counts
    family         bytea   NOT NULL, -- keyed digest of source and family id
    family_version bigint,           -- where a run of rows of one family begins: digest of the family's columns
    identity       bytea,            -- keyed digest of the person's NIK, else of the source's id of the person
    head           boolean NOT NULL,
    sealed         bytea             -- NULL: the row is rejected
);
CREATE INDEX snapshot_row_by_family ON snapshot_row (import, family);

-- The families of the list; every one that is named, so that nobody is delisted whose rows were merely faulty.
CREATE TABLE snapshot_family (
    import      bigint  NOT NULL,
    family      bytea   NOT NULL,
    first_row   bigint  NOT NULL,
    people      integer NOT NULL,
    heads       integer NOT NULL,
    agree       boolean NOT NULL, -- its rows say the same of it
    taken       boolean NOT NULL,
    shares_head boolean NOT NULL DEFAULT false,
    PRIMARY KEY (import, family)
);
CREATE INDEX snapshot_family_to_settle ON snapshot_family (import, first_row) WHERE taken;

-- Known households that an unresolved row may have meant: this list does not delist them.
CREATE TABLE snapshot_spared (
    import       bigint NOT NULL,
    household_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (import, household_id)
);

-- What was wrong in which row. Holds no value of the file.
CREATE TABLE snapshot_problem (
    number    bigint GENERATED ALWAYS AS IDENTITY,
    import    bigint NOT NULL,
    area_code text COLLATE "C" NOT NULL,
    row       bigint NOT NULL,
    "column"  text   NOT NULL,
    code      text   NOT NULL,
    severity  text   NOT NULL,
    reason    text   NOT NULL,
    remedy    text   NOT NULL,
    PRIMARY KEY (import, row, number)
);
SELECT kit_secure_by_area('snapshot_problem');

-- Which household a source means by a family id. Derived: the ids stand sealed in the log.
CREATE TABLE household_family (
    source       text   NOT NULL,
    family       bytea  NOT NULL, -- keyed digest of source and family id
    household_id text COLLATE "C" NOT NULL,
    learned_from bigint,          -- the import that brought it
    PRIMARY KEY (source, family)
);
CREATE INDEX household_family_by_household ON household_family (household_id);

-- A newer rank of a household gives its participants another priority.
CREATE INDEX participant_by_household ON participant (household_id);
