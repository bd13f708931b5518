-- The registry of the read model: which generations there are, and which one is read.
-- {db} is the database that is named in the configuration; a generation n is the
-- database {db}_g<n>.
--
-- Which one is read says the last of the tables switch_1, switch_2, …: a switch
-- makes one, whose comment is the switch as JSON. Of two who switch at the same time,
-- only one can make it. So it is with the tables generation_2, generation_3, …, whose
-- comments are the options that a generation was begun with.

CREATE TABLE IF NOT EXISTS {db}.generations
(
    generation UInt32 COMMENT 'The number; its tables are in the database with _g and the number at the end of its name',
    state SimpleAggregateFunction(max, Enum8('filling' = 1, 'filled' = 2, 'dropped' = 3)) COMMENT 'filling: projectors write it, and a rebuild fills in what was before; filled: it has everything; dropped: it is gone',
    made SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'When it was made',
    options SimpleAggregateFunction(max, String) COMMENT 'How it is rebuilt, as JSON'
)
ENGINE = AggregatingMergeTree
ORDER BY generation
COMMENT 'The generations of the read model';

CREATE TABLE IF NOT EXISTS {db}.coverage
(
    generation UInt32 COMMENT 'The generation',
    topic String COMMENT 'The topic',
    partition Int32 COMMENT 'The partition',
    from_offset SimpleAggregateFunction(min, Int64) COMMENT 'Projectors write everything from this offset on to the generation; a rebuild what is before it'
)
ENGINE = AggregatingMergeTree
ORDER BY (generation, topic, partition)
COMMENT 'What projectors write: to generations that are being filled, and to the one that was read when they began a partition. Offsets that were committed of others are not of this read model';

CREATE TABLE IF NOT EXISTS {db}.copied
(
    generation UInt32 COMMENT 'The generation',
    name String COMMENT 'A table that has all rows of the generation''s base; empty: all have'
)
ENGINE = ReplacingMergeTree
ORDER BY (generation, name)
COMMENT 'What generations that begin with the rows of another one have of it';

CREATE TABLE IF NOT EXISTS {db}.left_out
(
    list String COMMENT 'Which list it is on: a checksum of all that is on it',
    id String COMMENT 'The ID of an event that generations with this list in their options leave out'
)
ENGINE = ReplacingMergeTree
ORDER BY (list, id)
COMMENT 'Events that some generations leave out';

CREATE TABLE IF NOT EXISTS {db}.sweeps
(
    generation UInt32 COMMENT 'The generation',
    begun SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'When the last finished sweep of erased users began: nothing is left of who was erased in it before'
)
ENGINE = AggregatingMergeTree
ORDER BY generation
COMMENT 'When erased users were swept out of generations';
