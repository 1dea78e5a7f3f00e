-- Schema 4. What collecting, checking, restoring and importing need.

-- What may have lost its last holder, by the event that made it so; reviewed once its grace is over.
-- kind: 1 blob (its membership in the repository, if it has one, and its bytes), 2 manifest (that no tag names).
-- since: when it came to be so. not_before: after a lease that was met. parked: 1 for a manifest that nothing keeps but
-- the rule that untagged manifests stay; looked at only where that rule is off.
CREATE TABLE gc_candidates (
    repository_id INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    kind          INTEGER NOT NULL,
    since         INTEGER NOT NULL,
    not_before    INTEGER NOT NULL DEFAULT 0,
    parked        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (repository_id, digest, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX gc_candidates_due ON gc_candidates (parked, since, repository_id, digest, kind);

-- Of this process and its collector; one row. clean: whether the last process that held the database ended in order.
-- hold_until: after an unclean end, until when nothing is reclaimed that a local repository ever held.
-- importing: whether an import began and did not come to its end; until it does nothing is reclaimed.
-- report: JSON of the program, about the last collection that ended.
CREATE TABLE upkeep (
    clean      INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    gc_paused  INTEGER NOT NULL,
    importing  INTEGER NOT NULL,
    gc_report  TEXT
) STRICT;
INSERT INTO upkeep (clean, hold_until, gc_paused, importing, gc_report) VALUES (1, 0, 0, 0, NULL);

-- state of a blob, one more: 3 quarantined, its bytes are not what its digest says; it does not exist to anybody.
-- held_locally: whether a local repository ever held it. revision: counts the times its bytes were written.
-- checked_at: when its bytes were last hashed and found right. damage: what was found wrong.
ALTER TABLE blobs ADD COLUMN held_locally INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN checked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN damage TEXT;
CREATE INDEX blobs_quarantined ON blobs (digest, id) WHERE state = 3;

-- Scrubs that did not end, by what they are over: what was found right since they began is not hashed again.
CREATE TABLE scrubs (
    scope    TEXT    NOT NULL PRIMARY KEY,
    began_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The moves of tags. NULL in from_digest: the tag was made; NULL in to_digest: it was deleted.
CREATE TABLE tag_moves (
    id            INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL,
    tag           TEXT    NOT NULL,
    moved_at      INTEGER NOT NULL,
    moved_by      TEXT    NOT NULL,
    origin        INTEGER NOT NULL,
    from_digest   BLOB,
    to_digest     BLOB
) STRICT;
CREATE INDEX tag_moves_of ON tag_moves (repository_id, tag, id);
CREATE INDEX tag_moves_gone ON tag_moves (moved_at, id) WHERE to_digest IS NULL;

-- client: who counts towards the limit of open uploads.
ALTER TABLE uploads ADD COLUMN client TEXT NOT NULL DEFAULT '';
CREATE INDEX uploads_client ON uploads (client);
CREATE INDEX uploads_updated ON uploads (updated_at, id);

-- Since an import found something here that it could not use: nothing of this repository is collected.
ALTER TABLE repositories ADD COLUMN held_since INTEGER;

-- Link files of a Distribution registry below the store root, by the names of their repositories there.
CREATE TABLE link_repositories (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    repository TEXT    NOT NULL
) STRICT;

-- What was taken from link files or written into them: a file that still says it says nothing new.
-- kind: 1 layer, 2 manifest, 3 tag, 4 a manifest that could not be used and is kept. name: a digest, or a tag's bytes.
-- previous: while target is being written, what the file may say still, for a power cut can bring it back.
CREATE TABLE link_files (
    link_repository_id INTEGER NOT NULL,
    kind               INTEGER NOT NULL,
    name               BLOB    NOT NULL,
    target             BLOB    NOT NULL,
    previous           BLOB,
    PRIMARY KEY (link_repository_id, kind, name)
) STRICT, WITHOUT ROWID;

-- The last import that came to its end: one row, or none. uncertain: it met something of which nobody can say what it
-- needs, so that nothing counts as idle that was not noted by an event.
CREATE TABLE imports (
    ended_at  INTEGER NOT NULL,
    uncertain INTEGER NOT NULL,
    report    TEXT    NOT NULL
) STRICT;

-- Lines of what a job found, JSON of the program each; they go with their job.
CREATE TABLE job_lines (
    job_id   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    line     TEXT    NOT NULL,
    PRIMARY KEY (job_id, position)
) STRICT, WITHOUT ROWID;

-- What was there before anything noted candidates.
UPDATE blobs SET held_locally = 1 WHERE digest IN (
    SELECT l.digest FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE r.kind = 1
    UNION SELECT m.digest FROM manifests m JOIN repositories r ON r.id = m.repository_id WHERE r.kind = 1
    UNION SELECT c.child FROM manifest_refs c JOIN repositories r ON r.id = c.repository_id WHERE r.kind = 1);
INSERT INTO gc_candidates (repository_id, digest, kind, since)
    SELECT l.repository_id, l.digest, 1, (SELECT micros FROM clock)
    FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id
    WHERE r.kind = 1 AND NOT EXISTS (SELECT 1 FROM manifest_refs c WHERE c.repository_id = l.repository_id AND c.child = l.digest);
INSERT INTO gc_candidates (repository_id, digest, kind, since)
    SELECT 0, b.digest, 1, (SELECT micros FROM clock) FROM blobs b
    WHERE b.state = 1 AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.digest = b.digest)
        AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = b.digest);
INSERT INTO gc_candidates (repository_id, digest, kind, since)
    SELECT m.repository_id, m.digest, 2, (SELECT micros FROM clock)
    FROM manifests m JOIN repositories r ON r.id = m.repository_id
    WHERE r.kind = 1 AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = m.repository_id AND t.digest = m.digest);
