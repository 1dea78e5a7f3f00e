//! Walks the workspace, applies every rule to every Rust file and prints the findings.
//! It reads files only; what is generated or downloaded (`target`) is never looked at.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::source::Source;
use super::{arrows, docs, globs, rooms, sizes};

/// Folders that hold Rust written by us, relative to the workspace's root.
const FOLDERS: [&str; 7] = ["src", "crates", "tests", "e2e", "benches", "fuzz", "xtask"];

/// One broken rule, told with the place and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, relative to the workspace's root, with forward slashes.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The rule's short name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.advice
        )
    }
}

/// Checks the workspace under `root`; prints one line per finding and returns failure if there was any.
pub(crate) fn run(root: &Path) -> ExitCode {
    let started = Instant::now();
    let sources = match read_sources(root) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::FAILURE;
        }
    };
    let findings = check(&sources);
    for finding in &findings {
        println!("{finding}");
    }
    let seconds = started.elapsed().as_secs_f32();
    println!(
        "tidy: {} files, {} findings, {seconds:.2} s",
        sources.len(),
        findings.len()
    );
    if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns every finding of every rule, in the order of the files; those of the rules' own lists come last.
fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(docs::check(source));
        findings.extend(arrows::check(source));
        findings.extend(globs::check(source));
        findings.extend(sizes::check(source));
    }
    findings.extend(sizes::stale_exceptions(sources));
    findings.extend(rooms::without_files(sources));
    findings
}

fn read_sources(root: &Path) -> std::io::Result<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        if folder.is_dir() {
            collect_rust_files(&folder, &mut paths)?;
        }
    }
    if paths.is_empty() {
        return Err(std::io::Error::other(format!(
            "no Rust files under {}",
            root.display()
        )));
    }
    paths.sort();
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        sources.push(Source::new(
            relative.to_string_lossy().replace('\\', "/"),
            text,
        ));
    }
    Ok(sources)
}

fn collect_rust_files(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // A crate that is built on its own (fuzz) keeps a target folder inside the tree.
            if path.file_name().is_some_and(|name| name != "target") {
                collect_rust_files(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Finding, read_sources};
    use std::path::Path;

    #[test]
    fn a_finding_prints_file_line_rule_and_advice() {
        let finding = Finding {
            path: "src/a.rs".into(),
            line: 7,
            rule: "glob import",
            advice: "name what you use".into(),
        };
        assert_eq!(
            finding.to_string(),
            "src/a.rs:7: glob import: name what you use"
        );
    }

    #[test]
    fn the_walk_finds_this_very_file_and_nothing_under_target() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a package lies in the workspace");
        let sources = read_sources(root).expect("the workspace is readable");
        assert!(
            sources
                .iter()
                .any(|source| source.path == "xtask/src/tidy/run.rs")
        );
        assert!(
            sources
                .iter()
                .all(|source| !source.path.contains("target/"))
        );
    }

    #[test]
    fn an_empty_folder_is_an_error_and_not_a_clean_house() {
        assert!(read_sources(Path::new("/nonexistent-workspace")).is_err());
    }
}
