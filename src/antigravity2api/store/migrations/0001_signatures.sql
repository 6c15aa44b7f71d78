-- Thought signatures, a cache: what is lost here costs quality for a while, no data.
-- `key` is a SHA-256, so that no text of a conversation is kept. Rows are made in order of time: the oldest have the
-- smallest id, and a signature that is stored anew becomes a new row.
CREATE TABLE signatures (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    signature BLOB NOT NULL,
    family TEXT NOT NULL,
    upstream TEXT NOT NULL,
    created INTEGER NOT NULL
);
