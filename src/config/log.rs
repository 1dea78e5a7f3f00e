//! The `log` section and its old alias `loglevel`.

use std::collections::BTreeMap;

use super::problems::Problems;
use super::section::Section;

/// What is logged, and in which form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged (`log.level`; default info).
    pub level: Level,
    /// The form of a line (`log.formatter`; default text).
    pub formatter: Formatter,
    /// Fields added to every line (`log.fields`; default none).
    pub fields: BTreeMap<String, String>,
    /// Whether the access log is off (`log.accesslog.disabled`; default false).
    pub accesslog_disabled: bool,
    /// Whether lines name the source file and line they come from (`log.reportcaller`; default false).
    pub reportcaller: bool,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Failures of the server.
    Error,
    /// Things an operator should look at.
    Warn,
    /// The course of events.
    #[default]
    Info,
    /// Everything, refusals of single requests included.
    Debug,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formatter {
    /// `time="…" level=info msg="…"`.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// One JSON object per line with logstash's names.
    Logstash,
}

/// Reads the section.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Log {
    let log = root.section("log");
    let old_level = root.parse("loglevel", problems, level);
    let mut fields = BTreeMap::new();
    for (name, value) in log.section("fields").names() {
        if let Some(field) = value.value(problems) {
            fields.insert(name.to_owned(), field.text.to_owned());
        }
    }
    Log {
        level: log
            .parse("level", problems, level)
            .or(old_level)
            .unwrap_or_default(),
        formatter: log
            .parse("formatter", problems, formatter)
            .unwrap_or_default(),
        fields,
        accesslog_disabled: log.section("accesslog").switch("disabled", problems),
        reportcaller: log.switch("reportcaller", problems),
    }
}

fn level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        _ => Err(format!("{text:?} is none of error, warn, info and debug")),
    }
}

fn formatter(text: &str) -> Result<Formatter, String> {
    match text {
        "text" => Ok(Formatter::Text),
        "json" => Ok(Formatter::Json),
        "logstash" => Ok(Formatter::Logstash),
        _ => Err(format!("{text:?} is none of text, json and logstash")),
    }
}
