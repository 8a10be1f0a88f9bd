-- name: foreign_tables
-- Those of these tables that our role does not own.
SELECT c.relname AS name FROM unnest($1::text[]) t JOIN pg_class c ON c.oid = to_regclass(t)
WHERE NOT pg_has_role(c.relowner, 'USAGE') ORDER BY c.relname

-- name: current_role
-- Our role, and the schema that it finds tables in.
SELECT current_user::text AS role, current_schema() AS schema

-- name: lacking
-- Those of these rights that our role lacks. A right is a verb, a column (empty: the whole table or function), and the table or
-- function. Tables, columns and functions that do not exist are left out.
SELECT n.verb, n.col, n.object
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS n (verb, col, object, place)
WHERE CASE
    WHEN n.verb = 'EXECUTE' THEN to_regprocedure(n.object) IS NOT NULL
        AND NOT has_function_privilege(to_regprocedure(n.object)::oid, 'EXECUTE')
    WHEN n.col = '' THEN to_regclass(n.object) IS NOT NULL AND NOT has_table_privilege(to_regclass(n.object)::oid, n.verb)
    ELSE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(n.object) AND a.attname = n.col
                 AND NOT a.attisdropped AND NOT has_column_privilege(a.attrelid, a.attnum, n.verb))
END
ORDER BY n.place
