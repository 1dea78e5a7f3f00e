-- Schema 2. When something was last pulled, in narrow tables of their own that are written in batches; rows go with what
-- they are about. Instants are microseconds since 1970.

-- Manifests of every repository, and blobs of mirrored ones.
CREATE TABLE digest_pulls (
    repository_id BIGINT NOT NULL,
    digest        BYTEA  NOT NULL,
    pulled_at     BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest)
);

CREATE TABLE tag_pulls (
    repository_id BIGINT           NOT NULL,
    tag           TEXT COLLATE "C" NOT NULL,
    pulled_at     BIGINT           NOT NULL,
    PRIMARY KEY (repository_id, tag)
);

-- Since when a mirrored repository has had a manifest, once it lost one: it was mirrored although nothing of it is left.
ALTER TABLE repositories ADD COLUMN mirrored_at BIGINT;

-- Blobs claimed for deletion: few, and found at every start.
CREATE INDEX blobs_deleting ON blobs (digest, id) WHERE state = 2;
