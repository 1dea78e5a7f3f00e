-- Schema 3. Work that goes on without anybody waiting for it. Kinds are names, because a later version may add some.

-- state: 1 queued, 2 running, 3 done, 4 failed. payload and progress: JSON of the program. epoch: counts the claims;
-- who holds an older one is no longer heard. stalled_since: when the job last stopped bringing anything.
CREATE TABLE jobs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    unique_key    TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    state         INTEGER NOT NULL,
    run_after     INTEGER NOT NULL,
    claimed_by    TEXT,
    claimed_until INTEGER,
    epoch         INTEGER NOT NULL DEFAULT 0,
    progress      TEXT,
    error         TEXT,
    stalled_since INTEGER,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    finished_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE state IN (1, 2);
CREATE INDEX jobs_due ON jobs (run_after, id) WHERE state IN (1, 2);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- How far a schedule was followed: the last tick that became a job, or when the schedule was first seen.
CREATE TABLE schedules (
    name          TEXT    NOT NULL PRIMARY KEY,
    handled_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
