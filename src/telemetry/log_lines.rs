//! Log lines in Distribution's three forms, made from tracing events.
//! Fields of enclosing spans and the static ones of the configuration stand on every line.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level as TracingLevel, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Formatter, Level, Log};

/// Sends the program's log to stderr as the configuration says.
///
/// # Errors
/// Returns an error when this process has a log already.
pub fn init(log: &Log) -> Result<(), TryInitError> {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // What libraries have to say below a warning is about themselves.
    let targets = ["seawall", "oci", "blobstore", "metadata"].map(|target| (target, level));
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(targets);
    tracing_subscriber::registry()
        .with(LogLines::new(log, io::stderr()).with_filter(filter))
        .try_init()
}

/// A tracing layer that writes every event as one line.
pub struct LogLines {
    formatter: Formatter,
    fields: Map<String, Value>,
    callers: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl LogLines {
    /// Returns a layer that writes to `out` in the form that `log` asks for.
    #[must_use]
    pub fn new(log: &Log, out: impl Write + Send + 'static) -> Self {
        Self {
            formatter: log.formatter,
            fields: log
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect(),
            callers: log.reportcaller,
            out: Mutex::new(Box::new(out)),
        }
    }

    fn line(&self, event: &Event<'_>, mut fields: Map<String, Value>, now: Timestamp) -> String {
        event.record(&mut Collect(&mut fields));
        let metadata = event.metadata();
        if self.callers
            && let (Some(file), Some(line)) = (metadata.file(), metadata.line())
        {
            fields.insert("file".to_owned(), Value::from(format!("{file}:{line}")));
        }
        let message = fields.remove("message").unwrap_or_else(|| Value::from(""));
        let level = level_name(*metadata.level());
        match self.formatter {
            Formatter::Text => text_line(now, level, &message, &fields),
            Formatter::Json => json_line(
                fields,
                &[("time", now.to_string()), ("level", level.to_owned())],
                ("msg", message),
            ),
            Formatter::Logstash => {
                let stamp = [
                    ("@timestamp", now.to_string()),
                    ("@version", "1".to_owned()),
                    ("level", level.to_owned()),
                ];
                json_line(fields, &stamp, ("message", message))
            }
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for LogLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = self.fields.clone();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(SpanFields(of_span)) = span.extensions().get() {
                fields.extend(of_span.clone());
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a log line tells people what the system's clock showed; nothing is decided by it"
        )]
        let now = Timestamp::now();
        let line = self.line(event, fields, now);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // There is no better place to complain about a closed stderr.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

struct SpanFields(Map<String, Value>);

struct Collect<'m>(&'m mut Map<String, Value>);

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }
}

fn level_name(level: TracingLevel) -> &'static str {
    match level {
        TracingLevel::ERROR => "error",
        TracingLevel::WARN => "warning",
        TracingLevel::INFO => "info",
        TracingLevel::DEBUG => "debug",
        TracingLevel::TRACE => "trace",
    }
}

fn text_line(now: Timestamp, level: &str, message: &Value, fields: &Map<String, Value>) -> String {
    let mut line = format!(
        "time=\"{now}\" level={level} msg={}",
        text_value(message, Quotes::Always)
    );
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = write!(
            line,
            " {}={}",
            text_name(name),
            text_value(value, Quotes::WhereNeeded)
        );
    }
    line.push('\n');
    line
}

fn text_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '=' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Always,
    WhereNeeded,
}

/// Returns a value as logrus writes it; what is not plain is quoted and escaped.
fn text_value(value: &Value, quotes: Quotes) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+:".contains(c);
    if quotes == Quotes::WhereNeeded && !text.is_empty() && text.chars().all(plain) {
        text.clone()
    } else {
        format!("{text:?}")
    }
}

/// Returns one JSON object; `stamp` and `message` win over fields of the same name.
fn json_line(
    mut fields: Map<String, Value>,
    stamp: &[(&str, String)],
    message: (&str, Value),
) -> String {
    for (name, value) in stamp {
        fields.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    fields.insert(message.0.to_owned(), message.1);
    // JSON leaves DEL, C1 controls and bidirectional marks as they are; terminals and readers obey them.
    let mut line = String::new();
    for c in Value::Object(fields).to_string().chars() {
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::LogLines;
    use crate::config::{Formatter, Log};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no test panics while writing")
                .write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(formatter: Formatter, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let fields = [("service".to_owned(), "registry".to_owned())].into();
        let settings = Log {
            formatter,
            fields,
            ..Log::default()
        };
        let subscriber =
            tracing_subscriber::registry().with(LogLines::new(&settings, kept.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = kept.0.lock().expect("no test panics while writing").clone();
        String::from_utf8(bytes).expect("lines are text")
    }

    fn forged() {
        let span = tracing::info_span!("request", repository = "team/app");
        let _inside = span.enter();
        tracing::warn!(
            count = 3,
            name = "x\nlevel=error msg=\"forged\"\u{1b}[2J\u{9b}\u{202e}",
            "two\nlines"
        );
    }

    #[test]
    fn a_text_line_is_one_line_whatever_the_fields_hold() {
        let line = logged(Formatter::Text, forged);
        let (_, rest) = line.split_once(" level=").expect("a line has a level");
        assert_eq!(
            rest,
            "warning msg=\"two\\nlines\" count=3 name=\"x\\nlevel=error msg=\\\"forged\\\"\\u{1b}[2J\\u{9b}\\u{202e}\" repository=team/app service=registry\n"
        );
    }

    #[test]
    fn json_lines_are_objects_with_the_names_their_readers_expect() {
        for (formatter, message, time) in [
            (Formatter::Json, "msg", "time"),
            (Formatter::Logstash, "message", "@timestamp"),
        ] {
            let line = logged(formatter, forged);
            assert!(
                line.ends_with('\n')
                    && !line.trim_end().chars().any(char::is_control)
                    && !line.contains('\u{202e}')
            );
            let read: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
            assert_eq!(read[message], "two\nlines");
            assert_eq!(
                (&read["level"], &read["count"]),
                (&"warning".into(), &3.into())
            );
            assert_eq!(
                (&read["service"], &read["repository"]),
                (&"registry".into(), &"team/app".into())
            );
            assert!(
                read[time].as_str().is_some_and(|time| time.ends_with('Z')),
                "{line}"
            );
            assert!(
                read["name"]
                    .as_str()
                    .is_some_and(|name| name.contains("\nlevel=error"))
            );
        }
    }
}
