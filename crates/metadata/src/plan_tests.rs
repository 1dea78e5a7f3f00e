//! The queries that every pull and every list depend on find their rows by index and never sort.

use crate::sqlite::{Access, Connection};
use crate::value::Value;
use crate::{
    blobs, cached, candidates, consistency, damage, export, held, idle, import, job_lines, jobs,
    leases, links, manifests, migrate, pulls, push, reclaim, referrers, repositories, review,
    tag_moves, tags, uploads,
};

const QUERIES: &[&str] = &[
    blobs::BLOB,
    blobs::ANYWHERE,
    blobs::MOUNT_SOURCES,
    blobs::MEMBER,
    leases::LEASE,
    leases::LEASE_OF_MANIFEST,
    blobs::LEAVE,
    blobs::FORGET_PULL,
    blobs::KEY_DELETING,
    candidates::NOTE_REFERRERS,
    candidates::NOTE_ORPHAN,
    candidates::PAGE_OF_DUE,
    candidates::ANY_DUE,
    candidates::OLDEST,
    cached::REPOSITORIES,
    cached::MANIFESTS,
    cached::TAGS,
    cached::REFS,
    cached::BLOBS,
    cached::STORED,
    job_lines::HELD,
    job_lines::LAST,
    job_lines::PAGE,
    consistency::TAGS,
    consistency::REFERENCES,
    consistency::MANIFESTS,
    consistency::MEMBERSHIPS,
    consistency::UNNOTED_BLOBS,
    consistency::UNNOTED_MANIFESTS,
    damage::LIVE,
    damage::QUARANTINED_AT,
    damage::QUARANTINE,
    damage::LIFT,
    damage::CHECKED,
    damage::REVIVE,
    damage::TAKE_OVER,
    damage::DISCARD,
    damage::QUARANTINED,
    damage::LIVE_PAGE,
    damage::EVERY_REPOSITORY,
    export::OWNER,
    export::LAYERS,
    export::MANIFESTS,
    export::TAGS,
    export::KEY,
    export::AT_PLAIN_PATH,
    idle::LOCAL,
    idle::IDLE_BLOBS,
    idle::IDLE_MANIFESTS,
    idle::IDLE_BYTES,
    import::LIVE,
    import::REVIVE,
    import::QUARANTINED,
    import::HOLD_LOCALLY,
    links::KNOWN,
    links::ALL,
    links::SETTLE,
    jobs::CLAIM,
    jobs::DUE,
    jobs::JOB,
    jobs::LIST,
    jobs::OPEN,
    manifests::BY_DIGEST,
    manifests::BY_TAG,
    manifests::EVER_MIRRORED,
    pulls::NOTE_DIGEST,
    pulls::NOTE_TAG,
    pulls::FORGET_DIGEST,
    pulls::FORGET_TAG,
    pulls::FORGET_TAGS_OF,
    pulls::DIGEST_PULLED,
    pulls::TAG_PULLED,
    push::HELD_BLOB,
    push::HELD_MANIFEST,
    reclaim::CLAIM,
    reclaim::FORGET,
    reclaim::CLAIMED,
    reclaim::DELETING,
    reclaim::TAKEN,
    reclaim::PULLED_SINCE,
    reclaim::TAG_PULLED_SINCE,
    reclaim::LEASED,
    reclaim::LEAVE,
    reclaim::LEAVE_SHARED,
    reclaim::FORGET_PULL,
    referrers::ALL,
    referrers::OF_TYPE,
    review::CANDIDATE,
    review::DROP,
    review::POSTPONE,
    review::PARK,
    review::HELD,
    review::MANIFEST_KEPT,
    review::NAMED,
    review::IS_MANIFEST,
    review::BYTES,
    held::WAKE,
    repositories::REPOSITORY,
    repositories::NAME,
    repositories::IS_LOCAL,
    repositories::CATALOG,
    repositories::KIND,
    manifests::TAGS_OF,
    tag_moves::FORGET_GONE,
    tag_moves::FORGET_OLD,
    tag_moves::LAST,
    tag_moves::LIST,
    tag_moves::OF_DIGEST,
    tags::ANY_MANIFEST,
    tags::LIST,
    uploads::UPLOAD,
    uploads::ADVANCE,
    uploads::OPEN_OF_CLIENT,
    uploads::IDLE,
];

/// These sort what they are about to write, so that no row is written twice.
const SORTING: &[&str] = &[candidates::NOTE_NAMED];

/// Returns the steps by which SQLite would run `sql`.
fn plan(connection: &mut Connection, sql: &str) -> Vec<String> {
    // The connection takes static text only; what a test leaks is gone when it ends.
    let explain = format!("EXPLAIN QUERY PLAN {sql}").leak();
    let rows = connection
        .query(explain, &vec![Value::Null; 8])
        .expect("the query is valid");
    rows.iter()
        .map(|row| row.text(3).expect("the step is text").to_owned())
        .collect()
}

#[test]
fn no_query_of_the_hit_path_or_of_a_list_scans_or_sorts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("plans.db");
    let mut connection = Connection::open(&file, Access::Write).expect("a new file opens");
    migrate::migrate(&mut connection).expect("migrates");
    for sql in QUERIES.iter().chain(SORTING) {
        let steps = plan(&mut connection, sql);
        assert!(
            steps.iter().any(|step| step.starts_with("SEARCH")),
            "{sql}\n{steps:#?}"
        );
        for step in &steps {
            // `upkeep` has one row, and a deletion has no more than two tags forgotten.
            let few_rows =
                step.contains("CONSTANT ROW") || ["SCAN u", "SCAN gone"].contains(&step.as_str());
            let slow = step.starts_with("SCAN") && !few_rows;
            assert!(
                !slow && (!step.contains("TEMP B-TREE") || SORTING.contains(sql)),
                "{step}\n{sql}\n{steps:#?}"
            );
        }
    }
}

#[test]
fn every_query_says_its_parameters_as_both_engines_do() {
    for sql in QUERIES {
        assert!(!sql.contains('?') && !sql.contains("OFFSET "), "{sql}");
    }
}
