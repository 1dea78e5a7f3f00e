//! Finds, reads, overlays, checks and types the configuration, in this order.
//! The only function of the room others call to get one; it tells everything that is wrong at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::STORAGE_SETTINGS;
use super::environment::Environment;
use super::http::{Http, listen_address};
use super::known_keys::{Unknown, check};
use super::problems::{Error, Problems};
use super::section::{Section, switch};
use super::tree::{Node, Origin, Value};
use super::variables::{CONFIGURATION_PATH, name_upstreams, overlay};
use super::{
    Config, api, backup, cache, catalog, gc, http, log, mirrors, scrub, storage, uploads,
    validation, warm, yaml,
};

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; without one, `REGISTRY_CONFIGURATION_PATH` names it.
    pub file: Option<PathBuf>,
    /// The state directory, and the store root where nothing else sets it.
    pub data: Option<PathBuf>,
    /// The address to listen on, instead of `http.addr`.
    pub listen: Option<String>,
    /// Whether unknown keys only warn; `SEAWALL_ALLOW_UNKNOWN_KEYS` says it too.
    pub allow_unknown_keys: bool,
}

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// The file that was read; none when the built-in defaults stand.
    pub file: Option<PathBuf>,
}

/// Where Distribution's own default places the blobs.
const DISTRIBUTION_ROOT: &str = "/var/lib/registry";

/// Reads the configuration that `sources` and `environment` name.
///
/// # Errors
/// Returns every reason to refuse it, each naming file and line, variable or option.
pub fn load(sources: &Sources, environment: &Environment) -> Result<Loaded, Error> {
    let mut problems = Problems::default();
    let unknown = unknown_keys(sources, environment, &mut problems);
    let file = sources
        .file
        .clone()
        .or_else(|| environment.get(CONFIGURATION_PATH).map(PathBuf::from));
    let mut tree = match &file {
        Some(file) => read_file(file)?,
        None => Node {
            value: Value::Null,
            origin: Origin::Variable("REGISTRY_*".into()),
        },
    };
    overlay(&mut tree, environment, &mut problems);
    check(&tree, unknown, &mut problems);
    version(&tree, file.as_deref(), &mut problems);
    let root = Section::root(&tree);
    let per_user = environment.user_data_directory();
    let built_in_http = Http::at(if file.is_some() {
        ":5000"
    } else {
        "127.0.0.1:5000"
    });
    let storage_defaults = storage::Defaults {
        rootdirectory: if file.is_some() {
            Some(Path::new(DISTRIBUTION_ROOT))
        } else {
            per_user.as_deref()
        },
        delete_enabled: file.is_none(),
        data: sources.data.as_deref(),
    };
    if let Some(file) = &file {
        storage_is_set(&tree, file, &mut problems);
    }
    let built_in_mirrors = file.is_none() && !name_upstreams(environment);
    let mirrors = mirrors::read(&root, built_in_mirrors, &mut problems);
    let storage = storage::read(&root, &storage_defaults, &mut problems);
    let mut config = Config {
        backup: backup::read(&root, &storage.rootdirectory, &mut problems),
        log: log::read(&root, &mut problems),
        http: http::read(&root, built_in_http, &mut problems),
        storage,
        cache: cache::read(&root, &mut problems),
        warm: warm::read(&root, &mirrors, &mut problems),
        mirrors,
        api: api::read(&root, &mut problems),
        debug: api::read_debug(&root, &mut problems),
        catalog: catalog::read(&root, &mut problems),
        uploads: uploads::read(&root, &mut problems),
        validation: validation::read(&root, &mut problems),
        gc: gc::read(&root, &mut problems),
        scrub: scrub::read(&root, &mut problems),
        warnings: Vec::new(),
    };
    let mut said_by = "http.addr";
    if let Some(listen) = &sources.listen {
        said_by = "--listen";
        if let Err(reason) = listen_address(listen) {
            problems.error_without_place(format!("--listen: {reason}"));
        }
        config.http.addr.clone_from(listen);
    }
    let registry = (said_by, config.http.addr.as_str());
    api::check_addresses(&root, registry, (&config.api, &config.debug), &mut problems);
    config.warnings = problems.finish()?;
    Ok(Loaded { config, file })
}

fn unknown_keys(sources: &Sources, environment: &Environment, problems: &mut Problems) -> Unknown {
    const VARIABLE: &str = "SEAWALL_ALLOW_UNKNOWN_KEYS";
    let allowed =
        environment
            .get(VARIABLE)
            .is_some_and(|value| match switch(&value.to_string_lossy()) {
                Ok(allowed) => allowed,
                Err(reason) => {
                    problems.error_without_place(format!("{VARIABLE}: {reason}"));
                    false
                }
            });
    if sources.allow_unknown_keys || allowed {
        Unknown::Warn
    } else {
        Unknown::Refuse
    }
}

fn read_file(file: &Path) -> Result<Node, Error> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::new(format!(
            "cannot read the configuration {}: {error}",
            file.display()
        ))
    })?;
    let shared: Arc<Path> = file.into();
    let origin = |line: u64| Origin::File {
        file: Arc::clone(&shared),
        line,
    };
    let mut tree = yaml::parse(&text, &origin)
        .map_err(|error| Error::new(format!("{}: {}", origin(error.line), error.reason)))?;
    if let Value::Map(entries) = &mut tree.value {
        let drivers = entries
            .iter_mut()
            .filter(|entry| matches!(entry.key.as_str(), "storage" | "auth"));
        drivers.for_each(|entry| entry.node.expand_shorthand());
    }
    Ok(tree)
}

fn version(tree: &Node, file: Option<&Path>, problems: &mut Problems) {
    let root = Section::root(tree);
    match (root.field("version", problems), file) {
        (Some(version), _) if version.text == "0.1" => {}
        (Some(version), _) => version.error(
            problems,
            &format!("{:?} is not supported; 0.1 is", version.text),
        ),
        (None, Some(file)) => {
            problems.error_without_place(format!(
                "{}: version is missing: add \"version: 0.1\"",
                file.display()
            ));
        }
        (None, None) => {}
    }
}

fn storage_is_set(tree: &Node, file: &Path, problems: &mut Problems) {
    let entries = tree.get("storage").map(Node::entries).unwrap_or_default();
    if entries
        .iter()
        .all(|entry| STORAGE_SETTINGS.contains(&entry.key.as_str()))
    {
        let place = file.display();
        problems.error_without_place(format!(
            "{place}: storage names no driver: add \"storage: filesystem\""
        ));
    }
}
