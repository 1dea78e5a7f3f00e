//! The options by which every command finds its configuration, as `serve` does.

use std::path::PathBuf;

use clap::Args;

use crate::config::Sources;

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigurationArguments {
    /// Read this configuration file; else REGISTRY_CONFIGURATION_PATH names it, else the built-in defaults stand
    #[arg(long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep data in this directory
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Listen on this address, as in 127.0.0.1:5000 or :5000
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Warn about unknown keys instead of refusing them (SEAWALL_ALLOW_UNKNOWN_KEYS=true does the same)
    #[arg(long)]
    pub allow_unknown_keys: bool,
}

/// The same, with the file as an argument too.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigurationArgumentsWithFile {
    /// The configuration file
    #[arg(value_name = "CONFIG", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// The options all commands have.
    #[command(flatten)]
    pub options: ConfigurationArguments,
}

impl ConfigurationArguments {
    /// Returns what the options say.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            data: self.data.clone(),
            listen: self.listen.clone(),
            allow_unknown_keys: self.allow_unknown_keys,
        }
    }
}

impl ConfigurationArgumentsWithFile {
    /// Returns what argument and options say.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let sources = self.options.sources();
        Sources {
            file: self.file.clone().or(sources.file),
            ..sources
        }
    }
}
