-- Schema 1. Digests are one algorithm byte and the raw bytes; instants are microseconds since 1970; small integers
-- are enums whose meaning is in the program and which carry no CHECK, because a later version may add values.
-- Everything below a repository is keyed by it. Names compare bytewise.

-- The last time that was stored; time never goes behind it.
CREATE TABLE clock (micros INTEGER NOT NULL) STRICT;
INSERT INTO clock (micros) VALUES (0);

-- kind: 1 local, 2 mirror (with its upstream); set when the row is made and never changed.
CREATE TABLE repositories (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    kind       INTEGER NOT NULL,
    upstream   TEXT,
    created_at INTEGER NOT NULL
) STRICT;
-- The catalog's order, '/' before every other character. No name contains a space.
CREATE INDEX repositories_catalog ON repositories (replace(name, '/', ' '));

-- Bytes in the store, those of manifests too. state: 1 live, 2 being deleted. key: NULL is Distribution's path.
CREATE TABLE blobs (
    id           INTEGER PRIMARY KEY,
    digest       BLOB    NOT NULL,
    size         INTEGER NOT NULL,
    store        INTEGER NOT NULL DEFAULT 0,
    key          TEXT,
    state        INTEGER NOT NULL,
    delete_after INTEGER,
    lease_until  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX blobs_live ON blobs (digest) WHERE state = 1;

-- Membership: which repository may give out which blob. origin: 1 pushed, 2 mirrored, 3 imported, 4 mounted.
CREATE TABLE repository_blobs (
    repository_id INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    added_at      INTEGER NOT NULL,
    added_by      TEXT    NOT NULL,
    origin        INTEGER NOT NULL,
    PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blobs_digest ON repository_blobs (digest);

-- annotations: a JSON object of strings. extractor: the version of the code that filled the columns from the bytes.
CREATE TABLE manifests (
    repository_id     INTEGER NOT NULL,
    digest            BLOB    NOT NULL,
    media_type        TEXT    NOT NULL,
    size              INTEGER NOT NULL,
    artifact_type     TEXT,
    config_media_type TEXT,
    subject           BLOB,
    annotations       TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    created_by        TEXT    NOT NULL,
    origin            INTEGER NOT NULL,
    upstream          TEXT,
    extractor         INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (repository_id, digest)
) STRICT;
CREATE INDEX manifests_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_digest ON manifests (digest);
CREATE INDEX manifests_mirrored ON manifests (repository_id) WHERE origin = 2;

-- What a manifest refers to. No foreign key to the child: it may be absent. kind: 1 config, 2 layer, 3 child.
CREATE TABLE manifest_refs (
    repository_id INTEGER NOT NULL,
    parent        BLOB    NOT NULL,
    position      INTEGER NOT NULL,
    child         BLOB    NOT NULL,
    kind          INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    media_type    TEXT    NOT NULL,
    PRIMARY KEY (repository_id, parent, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_refs_of ON manifest_refs (repository_id, child);
CREATE INDEX manifest_refs_child ON manifest_refs (child);

-- checked_at: when the tag was last known to be right; for a mirror, when its upstream last confirmed it.
CREATE TABLE tags (
    repository_id INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    digest        BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    updated_by    TEXT    NOT NULL,
    origin        INTEGER NOT NULL,
    checked_at    INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_digest ON tags (repository_id, digest);

-- An upload names its repository by name: the repository may not exist yet. purpose: 1 push, 2 mirror fill.
CREATE TABLE uploads (
    id          TEXT    NOT NULL PRIMARY KEY,
    repository  TEXT    NOT NULL,
    purpose     INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    algorithm   INTEGER NOT NULL,
    hash_state  BLOB,
    store_state BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    created_by  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
