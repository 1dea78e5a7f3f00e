//! Looks at the disk of a quiet server: the database is sound, every row has its file, and what files there are beside rows
//! is no more than a crash may leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use rusqlite::{Connection, OpenFlags};
use tokio::time::sleep;

use crate::client::{Client, Trouble};
use crate::content::digest_of;
use crate::server::Setup;

/// How long after a start leftovers may still lie about.
const TIDY_WITHIN: Duration = Duration::from_secs(10);

/// Which blobs are compared with their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Sizes of all, and the bytes of files without a row.
    Whole,
    /// As `Whole`, where the disk failed: an upload whose bytes were lost may be closed, when its client comes again.
    AfterFailures,
    /// The database alone, where a walk through the store would take longer than the crash it looks for.
    Database,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<String>,
    /// Files with a blob's right bytes and no row.
    pub(crate) extra: usize,
}

/// An open upload as its row has it.
struct Upload {
    repository: String,
    id: String,
    offset: u64,
}

/// Looks at the disk of the server at `client`, to which nobody else speaks.
pub(crate) async fn inspect(setup: &Setup, client: &Client, depth: Depth) -> Findings {
    let mut findings = Findings::default();
    match uploads(setup) {
        Ok(uploads) => {
            for upload in uploads {
                if let Err(trouble) = resume(client, &upload, depth).await {
                    let what = format!(
                        "the upload {} of {} cannot go on: {trouble}",
                        upload.id, upload.repository
                    );
                    findings.problems.push(what);
                }
            }
        }
        Err(error) => findings
            .problems
            .push(format!("the uploads cannot be read: {error}")),
    }
    if let Err(error) = database(setup, depth, &mut findings.problems) {
        findings
            .problems
            .push(format!("the database cannot be read: {error}"));
    }
    if depth != Depth::Database {
        match compare(setup) {
            Ok(compared) => {
                findings.problems.extend(compared.problems);
                findings.extra = compared.extra;
            }
            Err(error) => findings
                .problems
                .push(format!("the store cannot be read: {error}")),
        }
    }
    findings.problems.extend(leftovers(setup).await);
    findings
}

fn open(setup: &Setup) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(setup.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn database(setup: &Setup, depth: Depth, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let connection = open(setup)?;
    let check = match depth {
        Depth::Whole | Depth::AfterFailures => "integrity_check",
        Depth::Database => "quick_check",
    };
    let told: String = connection.query_row(&format!("PRAGMA {check}"), [], |row| row.get(0))?;
    if told != "ok" {
        problems.push(format!("{check}: {told}"));
    }
    // A transaction that was applied in part would leave one of these.
    for (what, sql) in [
        (
            "tags of no manifest",
            "SELECT count(*) FROM tags t WHERE NOT EXISTS (SELECT 1 FROM manifests m
                WHERE m.repository_id = t.repository_id AND m.digest = t.digest)",
        ),
        (
            "manifests without bytes",
            "SELECT count(*) FROM manifests m WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = m.digest AND b.state = 1)
                AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = m.digest AND b.state = 3)",
        ),
        (
            "blobs of a repository without bytes",
            "SELECT count(*) FROM repository_blobs l WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest AND b.state = 1)
                AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest AND b.state = 3)",
        ),
        (
            "references of no manifest",
            "SELECT count(*) FROM manifest_refs c WHERE NOT EXISTS (SELECT 1 FROM manifests m
                WHERE m.repository_id = c.repository_id AND m.digest = c.parent)",
        ),
    ] {
        let many: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if many > 0 {
            problems.push(format!("the database holds {many} {what}"));
        }
    }
    Ok(())
}

fn uploads(setup: &Setup) -> rusqlite::Result<Vec<Upload>> {
    let connection = open(setup)?;
    let mut statement =
        connection.prepare("SELECT repository, id, \"offset\" FROM uploads WHERE purpose = 1")?;
    let rows = statement.query_map([], |row| {
        Ok(Upload {
            repository: row.get(0)?,
            id: row.get(1)?,
            offset: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

/// Goes on with an upload for some bytes and gives it up.
async fn resume(client: &Client, upload: &Upload, depth: Depth) -> Result<(), Trouble> {
    let path = format!("/v2/{}/blobs/uploads/{}", upload.repository, upload.id);
    let told = client.get(&path).await?.expect(&[204])?;
    let range = format!("0-{}", upload.offset.saturating_sub(1));
    let said = told
        .headers
        .get("range")
        .and_then(|range| range.to_str().ok());
    if said != Some(&range) {
        return Err(Trouble::Wrong(format!("it says {said:?}, its row {range}")));
    }
    let location = told.location()?;
    let more = bytes::Bytes::from_static(b"more");
    let patched = client
        .send(Method::PATCH, &location, "application/octet-stream", more)
        .await?;
    if patched.status == 404 && depth == Depth::AfterFailures {
        // Closed for good, so that its client begins again; nothing says any more that it is open.
        return client.get(&path).await?.expect(&[404]).map(drop);
    }
    let location = patched.expect(&[202])?.location()?;
    client.delete(&location).await?.expect(&[204]).map(drop)
}

/// Compares rows and files of blobs, both ways.
fn compare(setup: &Setup) -> Result<Findings, Box<dyn std::error::Error>> {
    let mut findings = Findings::default();
    let connection = open(setup)?;
    let mut statement =
        connection.prepare("SELECT lower(hex(digest)), key, size, state FROM blobs")?;
    let mut rows = statement.query([])?;
    let mut known = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (digest, key, size, state): (String, Option<String>, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        // The first byte is the algorithm; only sha256 is pushed here.
        let size = size.unsigned_abs();
        let place = place(&setup.root, &digest[2..], key.as_deref());
        if state == 1 {
            match fs::metadata(&place) {
                Ok(file) if file.len() == size => {}
                Ok(file) => findings.problems.push(format!(
                    "the file of {} has {} bytes, its row {size}",
                    &digest[2..],
                    file.len()
                )),
                Err(error) => findings
                    .problems
                    .push(format!("the file of {}: {error}", &digest[2..])),
            }
        }
        known.insert(place);
    }
    for (file, hex) in files(&setup.root)? {
        if known.contains(&file) {
            continue;
        }
        // A reclaim may take it meanwhile.
        let Ok(bytes) = fs::read(&file) else { continue };
        if digest_of(&bytes) != format!("sha256:{hex}") {
            findings
                .problems
                .push(format!("a file without a row has not the bytes of {hex}"));
        }
        findings.extra += 1;
    }
    Ok(findings)
}

fn blobs(root: &Path) -> PathBuf {
    root.join("docker/registry/v2/blobs/sha256")
}

/// Returns where the bytes of a blob lie.
pub(crate) fn place(root: &Path, hex: &str, key: Option<&str>) -> PathBuf {
    let name = key.map_or_else(|| "data".to_owned(), |key| format!("data.{key}"));
    blobs(root).join(&hex[..2]).join(hex).join(name)
}

/// Returns every file of a blob with the hex of its digest.
fn files(root: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for shard in entries(&blobs(root))? {
        for directory in entries(&shard)? {
            let hex = directory.file_name().unwrap_or_default();
            let hex = hex.to_string_lossy().into_owned();
            found.extend(
                entries(&directory)?
                    .into_iter()
                    .map(|file| (file, hex.clone())),
            );
        }
    }
    Ok(found)
}

/// Returns how many blobs' files there are.
pub(crate) fn blob_files(root: &Path) -> usize {
    files(root).map_or(0, |files| files.len())
}

/// Returns what is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Waits until no file in `uploads` lies there without a row, and returns those that stay.
async fn leftovers(setup: &Setup) -> Vec<String> {
    let mut waited = Duration::ZERO;
    loop {
        let left = without_row(setup);
        match left {
            Ok(left) if left.is_empty() => return left,
            left if waited >= TIDY_WITHIN => {
                return left
                    .unwrap_or_else(|error| vec![format!("uploads cannot be read: {error}")]);
            }
            _ => {}
        }
        let pause = Duration::from_millis(20);
        sleep(pause).await;
        waited += pause;
    }
}

fn without_row(setup: &Setup) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let connection = open(setup)?;
    let mut statement = connection.prepare("SELECT count(*) FROM uploads WHERE id = ?1")?;
    let mut left = Vec::new();
    for file in entries(&setup.root.join("uploads"))? {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let id = name.split('.').next().unwrap_or_default();
        let rows: i64 = statement.query_row([id], |row| row.get(0))?;
        if rows == 0 {
            left.push(format!("uploads/{name} has no row"));
        }
    }
    Ok(left)
}
