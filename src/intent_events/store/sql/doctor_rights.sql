-- SPDX-License-Identifier: Apache-2.0
-- What this role may do, from the catalogue alone: any role may ask.
-- $1 names of tables in schema agent; a row for each.
SELECT
    asked.name,
    tables.oid IS NOT NULL AS there,
    coalesce(has_schema_privilege(schemas.oid, 'USAGE'), false) AS may_use,
    coalesce(has_schema_privilege(schemas.oid, 'CREATE'), false) AS may_create,
    ARRAY(
        SELECT kind
        FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS kinds (kind)
        WHERE has_table_privilege(tables.oid, kind)
    ) AS rights
FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, place)
LEFT JOIN pg_catalog.pg_namespace AS schemas ON schemas.nspname = 'agent'
LEFT JOIN pg_catalog.pg_class AS tables ON tables.relnamespace = schemas.oid AND tables.relname = asked.name
ORDER BY asked.place
