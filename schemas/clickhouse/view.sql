-- What analysts read: {db} is the registry's database, {claims} that of the switches, which
-- on one server is the same, and {view} the view's name. Of the views
-- {view}_view of all generations it shows that of the one that is read. That is looked up
-- once in a query for each view, so it is atomic, a switch has nothing to do for it, and
-- there is no moment at which it is not so.
--
-- Readers need no right to anything but the view: it reads as whoever has made it.

CREATE OR REPLACE VIEW {db}.{view}
{columns}
SQL SECURITY DEFINER
{comment}
AS
SELECT {names}
FROM merge(REGEXP('^{db}_g[0-9]+$'), '^{view}_view$')
WHERE _database =
(
    SELECT concat('{db}_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = '{claims}' AND match(name, '^switch_[0-9]+$')
)
