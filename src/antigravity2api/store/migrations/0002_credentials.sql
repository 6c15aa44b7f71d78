-- Credentials are the first rows worth keeping: they are salvaged from a damaged file, and a snapshot lies beside it.
-- `secret` is an encrypted envelope that is bound to the id; all else may be read by whoever can read the file.
CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    upstream TEXT NOT NULL,
    sort TEXT NOT NULL,
    label TEXT NOT NULL,
    project TEXT,
    location TEXT,
    enabled INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL,
    link TEXT NOT NULL,
    changed REAL NOT NULL,
    secret BLOB NOT NULL
);

-- What is counted: `revision` grows with every change of a credential, `number UPSTREAM` is the last one given to an id
-- (ids are not used twice, so that nothing remembered about one credential is taken for another's).
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('revision', 0);

-- A cache: which credential rests until when (seconds, wall clock), and why. `scope` is a model or a quota group, ''
-- the whole credential.
CREATE TABLE cooldowns (
    credential TEXT NOT NULL,
    scope TEXT NOT NULL,
    until REAL NOT NULL,
    strikes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    updated REAL NOT NULL,
    PRIMARY KEY (credential, scope)
);

-- A cache: what an upstream last answered when it was asked for its models.
CREATE TABLE model_lists (
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    fetched REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (upstream, credential)
);
