-- The database for postgresql.yaml:
--     sudo -u postgres createdb people
--     sudo -u postgres psql -d people -f postgresql.sql

CREATE TABLE people (
    login text PRIMARY KEY,  -- the index that each query uses
    full_name text NOT NULL,
    room text,
    plan text,
    salary integer,
    hidden boolean NOT NULL DEFAULT false
);

INSERT INTO people VALUES
    ('brindle', 'Brindle Oakenshaw', 'Kiln house', 'The kiln is lit on Thursdays.', 100, false),
    ('zoe', 'Zoë Lanternfish', 'Boat shed', 'Counting the tides, one at a time.', 100, false),
    ('tansy', 'Tansy Marrowby', NULL, 'Not to be found.', 100, true);

-- What is shown, and about whom: fingerd sees nothing else, whatever the query.
CREATE VIEW finger AS SELECT login, full_name, room, plan FROM people WHERE NOT hidden;

CREATE ROLE fingerd LOGIN;
GRANT SELECT ON finger TO fingerd;
