-- What the registry could not take in of the civil registry's messages, to be counted with what we could not.

CREATE TABLE registry_rejection (
    rejection_id text COLLATE "C" PRIMARY KEY,
    version      bigint NOT NULL,
    system       text   NOT NULL,
    faults       jsonb  NOT NULL
);
SELECT kit_readable('registry_rejection');
