-- What readers are shown beyond the tables themselves.

-- Snapshots that are being applied. They hide from every reader alike, whatever areas the snapshots are of.
CREATE FUNCTION snapshots_not_applied() RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT coalesce(array_agg(snapshot_id), '{}') FROM snapshot WHERE status <> 'applied'
$$;
REVOKE ALL ON FUNCTION snapshots_not_applied() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION snapshots_not_applied() TO entas_reader;

-- Households as the snapshots that are applied whole say they are: a list shows at once or not at all.
CREATE VIEW household_shown WITH (security_invoker = true) AS
SELECT
    h.household_id, h.version, h.area_code, h.people, h.head_person_id, h.conditions, h.sealed, h.sealed_by, h.sealed_area,
    h.file_digest, h.file_row,
    CASE WHEN h.delisted_by = ANY (pending.snapshots) THEN 'listed' ELSE h.status END AS status,
    CASE WHEN h.delisted_by = ANY (pending.snapshots) THEN NULL ELSE h.delisted_because END AS delisted_because,
    CASE WHEN h.snapshot_id = ANY (pending.snapshots) THEN h.previous_rank ->> 'source' ELSE h.source END AS source,
    CASE WHEN h.snapshot_id = ANY (pending.snapshots) THEN h.previous_rank ->> 'snapshot_id' ELSE h.snapshot_id END
        AS snapshot_id,
    CASE WHEN h.snapshot_id = ANY (pending.snapshots) THEN (h.previous_rank ->> 'dated')::date ELSE h.dated END AS dated,
    CASE
        WHEN h.snapshot_id = ANY (pending.snapshots) THEN (h.previous_rank ->> 'welfare_decile')::bigint
        ELSE h.welfare_decile
    END AS welfare_decile,
    CASE
        WHEN h.snapshot_id = ANY (pending.snapshots) THEN (h.previous_rank ->> 'welfare_percentile')::bigint
        ELSE h.welfare_percentile
    END AS welfare_percentile
FROM household h, LATERAL (SELECT (SELECT snapshots_not_applied()) AS snapshots) AS pending
WHERE h.snapshot_id <> ALL (pending.snapshots)
OR h.previous_rank ->> 'snapshot_id' <> ALL (pending.snapshots);
SELECT kit_readable('household_shown');

-- Who looked at a person's data, latest first. The read log has no area of its own: the person's decides.
CREATE FUNCTION reads_of(person text, before bigint, most integer)
    RETURNS TABLE (number bigint, read_at timestamptz, reader text, purpose text, fields text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT r.id, r.read_at, r.reader, r.purpose, r.fields
    FROM read_log r
    WHERE r.subject_id = person
    AND r.id < before
    AND EXISTS (SELECT 1 FROM member m WHERE m.person_id = person AND kit_area_visible(m.area_code))
    ORDER BY r.id DESC
    LIMIT most
$$;
REVOKE ALL ON FUNCTION reads_of(text, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reads_of(text, bigint, integer) TO entas_reader;
