//! `seawall import`: adopts the root of a Distribution registry, or says what that would find. Where a server runs it only
//! says; a server imports by itself what never was, when it starts.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget};
use tokio::runtime::Builder;

use super::offline::{self, Expects};
use super::server::{Format, Server, printable};
use super::{ConfigurationArguments, Failure, Output};
use crate::app::{Adoption, ImportReport, Opened};
use crate::config::{Config, Environment, load};

/// Where link files and blobs lie below a root.
const STORED: &str = "docker/registry/v2";

/// Arguments of `import`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// The directory the registry stored in (its rootdirectory), or the configuration file that names it; else the configuration names it
    #[arg(value_name = "DIR|CONFIG")]
    pub root: Option<PathBuf>,
    /// Say what would be imported, and change nothing that is stored
    #[arg(long)]
    pub dry_run: bool,
    /// Take everything again, also what was deleted or moved since, and give up what cannot be used
    #[arg(long)]
    pub force: bool,
    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Format,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// Imports, or says what that would find.
///
/// # Errors
/// What keeps it from being done, in one line that says what to do.
pub fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let config = configuration(arguments, environment)?;
    let root = &config.storage.rootdirectory;
    if !root.join(STORED).is_dir() {
        return Err(Failure::new(format!(
            "{} holds no registry: there is no {STORED} in it",
            root.display()
        )));
    }
    let adoption = Adoption::of(&config);
    let bar = bar(arguments.quiet);
    let mut told = |report: &ImportReport| {
        bar.set_message(counts(report));
        bar.tick();
    };
    let done = if arguments.dry_run {
        look(&config, &adoption, arguments.force, &mut told)
    } else {
        import(&config, &adoption, arguments.force, &mut told)
    };
    bar.finish_and_clear();
    print(arguments, &adoption, &done?)
}

/// Returns the configuration with the root and the state directory that are meant.
fn configuration(arguments: &Arguments, environment: &Environment) -> Result<Config, Failure> {
    let mut sources = arguments.configuration.sources();
    let directory = match &arguments.root {
        Some(path) if path.is_dir() => Some(path),
        Some(path) if sources.file.is_some() => {
            return Err(Failure::new(format!(
                "{} is no directory: beside --config only the directory of a registry can be named",
                path.display()
            )));
        }
        Some(path) => {
            sources.file = Some(path.clone());
            None
        }
        None => None,
    };
    let mut config = load(&sources, environment)?.config;
    if let Some(directory) = directory {
        config.storage.rootdirectory = directory.clone();
        config.storage.statedirectory = sources.data.unwrap_or_else(|| directory.clone());
    }
    Ok(config)
}

type Told<'t> = dyn FnMut(&ImportReport) + Send + 't;

fn import(
    config: &Config,
    adoption: &Adoption,
    force: bool,
    told: &mut Told<'_>,
) -> Result<ImportReport, Failure> {
    if Server::answers_at(&config.storage.socket()) {
        return Err(Failure::new(format!(
            "a server runs with the data directory {}: stop it to import again (a server imports what never was when it starts; --dry-run works beside it)",
            config.storage.statedirectory.display()
        )));
    }
    offline::with(config, Expects::Nothing, async |opened: &Opened| {
        let imported = adoption.import(&opened.metadata, force, told).await;
        imported.map_err(|error| failure(&error.to_string()))
    })
}

/// Says what an import would find. What is known already is asked of the database, unless a server has it.
fn look(
    config: &Config,
    adoption: &Adoption,
    force: bool,
    told: &mut Told<'_>,
) -> Result<ImportReport, Failure> {
    if Opened::is_there(config) && !Server::answers_at(&config.storage.socket()) {
        return offline::with(config, Expects::Data, async |opened: &Opened| {
            let metadata = Some(&opened.metadata);
            let found = adoption.dry_run(metadata, force, told).await;
            found.map_err(|error| failure(&error.to_string()))
        });
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure(&error.to_string()))?;
    let found = runtime.block_on(adoption.dry_run(None, force, told));
    let mut report = found.map_err(|error| failure(&error.to_string()))?;
    if Opened::is_there(config) {
        report.changed = None;
    }
    Ok(report)
}

fn failure(reason: &str) -> Failure {
    Failure::new(format!(
        "{reason}; what was imported before this is kept, and running it again goes on"
    ))
}

/// Returns a line that moves on a terminal, and nothing elsewhere.
fn bar(quiet: bool) -> ProgressBar {
    if quiet || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn counts(report: &ImportReport) -> String {
    let ImportReport {
        repositories,
        tags,
        manifests,
        blobs,
        bytes,
        ..
    } = report;
    format!(
        "{repositories} repositories, {tags} tags, {manifests} manifests, {blobs} blobs ({})",
        HumanBytes(*bytes)
    )
}

fn print(
    arguments: &Arguments,
    adoption: &Adoption,
    report: &ImportReport,
) -> Result<Output, Failure> {
    let warning = adoption.warning();
    let stderr = warning.map_or(String::new(), |warning| format!("warning: {warning}\n"));
    let stdout = match arguments.output {
        Format::Json => {
            let json = serde_json::to_string(report);
            json.map_err(|error| failure(&error.to_string()))? + "\n"
        }
        Format::Text => text(&adoption.root, arguments, report),
    };
    Ok(Output {
        stdout,
        stderr,
        code: 0,
    })
}

/// Returns what a person reads.
fn text(root: &Path, arguments: &Arguments, report: &ImportReport) -> String {
    let mut text = format!("{}: {}\n", root.display(), counts(report));
    text += &match (report.changed, arguments.dry_run) {
        (Some(0), _) => "nothing is new\n".to_owned(),
        (Some(changed), true) => format!("{changed} links are new and would be imported\n"),
        (Some(changed), false) => format!("{changed} links were new and are imported\n"),
        (None, _) => {
            "a server has this data directory, so that nobody says here what of it is new\n"
                .to_owned()
        }
    };
    let count = report.unusable_count();
    if count > 0 {
        text += &format!(
            "{count} cannot be used; of their repositories nothing is collected until they are mended or removed and this is run again, or they are given up with --force:\n"
        );
    }
    for unusable in &report.unusable {
        let line = format!("{}: {}", unusable.path, unusable.reason);
        text += &format!("  {}\n", printable(&line));
    }
    if report.unlisted > 0 {
        text += &format!("  and {} more\n", report.unlisted);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Arguments, text};
    use crate::app::{ImportReport, Unusable};

    #[test]
    fn a_person_reads_what_was_found_what_is_new_and_what_cannot_be_used() {
        let mut report = ImportReport {
            repositories: 2,
            tags: 3,
            manifests: 4,
            blobs: 5,
            bytes: 2048,
            changed: Some(9),
            unusable: Vec::new(),
            unlisted: 0,
        };
        let arguments = Arguments::default();
        assert_eq!(
            text(Path::new("/srv"), &arguments, &report),
            "/srv: 2 repositories, 3 tags, 4 manifests, 5 blobs (2.00 KiB)\n9 links were new and are imported\n"
        );
        report.changed = Some(0);
        report.unusable = vec![Unusable {
            path: "a/link".to_owned(),
            reason: "it is \u{1b}[2Jempty".to_owned(),
        }];
        report.unlisted = 1;
        let shown = text(Path::new("/srv"), &arguments, &report);
        assert!(
            shown.contains("nothing is new\n2 cannot be used;"),
            "{shown}"
        );
        assert!(
            shown.ends_with("\n  a/link: it is  [2Jempty\n  and 1 more\n"),
            "{shown}"
        );
    }
}
