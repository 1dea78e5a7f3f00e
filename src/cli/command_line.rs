//! What may be typed after `seawall`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use super::{
    backup, check_config, client_config, export_links, fsck, garbage_collect, gc, import, mirror,
    restore, scrub, serve, tag,
};

/// A container registry and a mirror of other registries.
#[derive(Debug, Parser)]
#[command(
    name = "seawall",
    version,
    disable_version_flag = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "`seawall CONFIG` is short for `seawall serve CONFIG`."
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(serve::Arguments),
    /// Say what a configuration means and what is wrong with it
    CheckConfig(check_config::Arguments),
    /// Print the file that makes a client use this server
    ClientConfig(client_config::Arguments),
    /// Adopt what a Distribution registry stored, in place
    Import(import::Arguments),
    /// Write the link files of Distribution, so that it can serve the same root; beside a running server or without one
    ExportLinks(export_links::Arguments),
    /// See what the mirrors of the running server do, and have them fetch or forget images
    Mirror(mirror::Arguments),
    /// See what the collector of the running server does, have it collect now, or pause it
    Gc(gc::Arguments),
    /// Delete blobs that no manifest names, as Distribution does; beside a running server or without one
    GarbageCollect(garbage_collect::Arguments),
    /// Hash stored blobs again, and stop serving those that are damaged; beside a running server or without one
    Scrub(scrub::Arguments),
    /// Compare what the database knows with the files in the store; beside a running server or without one
    Fsck(fsck::Arguments),
    /// See where a tag of the running server pointed over time, and put it back
    Tag(tag::Arguments),
    /// Write a copy of the database to a file, beside a running server or without one
    Backup(backup::Arguments),
    /// Put a copy in the place of the database; the server has to be stopped
    Restore(restore::Arguments),
}

impl CommandLine {
    /// Reads the arguments, the program's name first. A first argument that is a configuration file means `serve`.
    ///
    /// # Errors
    /// Returns clap's error, which for `--help` and `--version` is what they print.
    pub fn parse_from_arguments(
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let mut arguments: Vec<OsString> = arguments.collect();
        if arguments
            .get(1)
            .is_some_and(|first| is_configuration(first))
        {
            arguments.insert(1, "serve".into());
        }
        Self::try_parse_from(arguments)
    }
}

fn is_configuration(argument: &OsStr) -> bool {
    let is_command = CommandLine::command().find_subcommand(argument).is_some();
    let path = Path::new(argument);
    let is_yaml = path
        .extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml");
    let is_option = argument.as_encoded_bytes().starts_with(b"-");
    !is_command && !is_option && (is_yaml || path.is_file())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Command, CommandFactory, CommandLine};

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        let arguments = std::iter::once("seawall")
            .chain(arguments.iter().copied())
            .map(Into::into);
        CommandLine::parse_from_arguments(arguments).map(|line| line.command)
    }

    fn served_file(arguments: &[&str]) -> Option<std::path::PathBuf> {
        match parse(arguments) {
            Ok(Command::Serve(serve)) => serve.configuration.sources().file,
            _ => panic!("{arguments:?} does not serve"),
        }
    }

    #[test]
    fn a_first_argument_that_is_a_file_is_served() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = file.path().to_str().expect("a temporary path is text");
        assert_eq!(served_file(&[path]).as_deref(), Some(file.path()));
        assert_eq!(
            served_file(&["not-there.yml"]).as_deref(),
            Some(Path::new("not-there.yml"))
        );
        assert_eq!(
            served_file(&["serve", "c.yaml"]).as_deref(),
            Some(Path::new("c.yaml"))
        );
        assert_eq!(
            served_file(&["serve", "--config", "c.yaml"]).as_deref(),
            Some(Path::new("c.yaml"))
        );
        assert_eq!(served_file(&["serve"]), None);
    }

    #[test]
    fn misuse_exits_with_two_and_help_and_version_with_zero() {
        for wrong in [
            &["frobnicate"][..],
            &[],
            &["serve", "a", "b"],
            &["serve", "a", "--config", "b"],
            &["client-config", "x"],
        ] {
            assert_eq!(
                parse(wrong).expect_err("misuse").exit_code(),
                2,
                "{wrong:?}"
            );
        }
        for option in ["--version", "-v", "-V"] {
            let version = parse(&[option]).expect_err("the version ends the run");
            assert_eq!(
                (version.exit_code(), version.to_string()),
                (0, format!("seawall {}\n", env!("CARGO_PKG_VERSION")))
            );
        }
        assert_eq!(
            parse(&["--help"])
                .expect_err("help ends the run")
                .exit_code(),
            0
        );
    }

    #[test]
    fn help_reads_as_in_the_snapshots() {
        let mut command = CommandLine::command();
        command.build();
        let mut shown = String::new();
        show("seawall", &mut command, &mut shown);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/snapshots/help.txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &shown).expect("the snapshot can be written");
        }
        let told = std::fs::read_to_string(&file).expect("the snapshot is there");
        assert_eq!(shown, told, "see whether it reads well, with UPDATE_DOCS=1");
    }

    /// Adds the help of a command and of all below it.
    fn show(name: &str, command: &mut clap::Command, shown: &mut String) {
        let gap = if shown.is_empty() { "" } else { "\n" };
        let help = command.render_help();
        shown.push_str(&format!("{gap}$ {name} --help\n{help}"));
        for below in command.get_subcommands_mut() {
            let name = format!("{name} {}", below.get_name());
            show(&name, below, shown);
        }
    }
}
