//! The access log in Apache's combined form, as Distribution writes it.
//! One line per request, written whole; a line that cannot be written is lost, never a reason to fail a request.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub struct AccessLine<'a> {
    /// The client; `None` for the local socket, shown as `unix:`.
    pub remote: Option<IpAddr>,
    /// The user, if one is known.
    pub user: Option<&'a str>,
    /// When the request arrived, in microseconds since 1970.
    pub arrived_micros: i64,
    /// The request's method.
    pub method: &'a str,
    /// The request's target as sent.
    pub target: &'a str,
    /// The protocol, as in `HTTP/1.1`.
    pub protocol: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of body that were sent, or at least given to the connection before it broke.
    pub bytes: u64,
    /// The `Referer` header.
    pub referer: Option<&'a str>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a str>,
}

impl fmt::Display for AccessLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrived =
            Timestamp::from_microsecond(self.arrived_micros).unwrap_or(Timestamp::UNIX_EPOCH);
        match self.remote {
            Some(remote) => write!(f, "{remote} - ")?,
            None => f.write_str("unix: - ")?,
        }
        escaped(
            f,
            self.user.filter(|user| !user.is_empty()).unwrap_or("-"),
            Blank::Escaped,
        )?;
        write!(f, " [{} +0000] \"", arrived.strftime("%d/%b/%Y:%H:%M:%S"))?;
        escaped(f, self.method, Blank::Kept)?;
        f.write_char(' ')?;
        escaped(f, self.target, Blank::Kept)?;
        write!(f, " {}\" {} {} \"", self.protocol, self.status, self.bytes)?;
        escaped(f, self.referer.unwrap_or_default(), Blank::Kept)?;
        f.write_str("\" \"")?;
        escaped(f, self.user_agent.unwrap_or_default(), Blank::Kept)?;
        f.write_char('"')
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    Kept,
    /// Outside quotes a blank would begin the next field.
    Escaped,
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str, blank: Blank) -> fmt::Result {
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' ' if blank == Blank::Escaped => f.write_str("\\x20")?,
            c if c.is_ascii_graphic() || c == ' ' => f.write_char(c)?,
            c if c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c))?,
            c => write!(f, "{}", c.escape_unicode())?,
        }
    }
    Ok(())
}

/// Where access lines go.
pub struct AccessLog {
    out: Option<Mutex<Box<dyn Write + Send>>>,
}

impl AccessLog {
    /// Returns the access log on stdout, or one that writes nothing when `disabled`.
    #[must_use]
    pub fn stdout(disabled: bool) -> Self {
        if disabled {
            Self { out: None }
        } else {
            Self::to(io::stdout())
        }
    }

    /// Returns an access log that writes to `out`.
    #[must_use]
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Some(Mutex::new(Box::new(out))),
        }
    }

    /// Returns whether anything is written.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.out.is_some()
    }

    /// Writes one line.
    pub fn write(&self, line: &AccessLine<'_>) {
        let Some(out) = &self.out else { return };
        let text = format!("{line}\n");
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        // There is no better place to complain about a closed stdout.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::AccessLine;

    const LINE: AccessLine<'_> = AccessLine {
        remote: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        user: None,
        arrived_micros: 1_700_000_000_123_456,
        method: "GET",
        target: "/v2/library/nginx/manifests/latest?ns=docker.io",
        protocol: "HTTP/1.1",
        status: 200,
        bytes: 1234,
        referer: None,
        user_agent: Some("docker/29.0"),
    };

    #[test]
    fn a_line_has_apaches_combined_form() {
        let expected = "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /v2/library/nginx/manifests/latest?ns=docker.io HTTP/1.1\" 200 1234 \"\" \"docker/29.0\"";
        assert_eq!(LINE.to_string(), expected);
    }

    #[test]
    fn the_local_socket_has_no_address() {
        let local = AccessLine {
            remote: None,
            ..LINE
        };
        assert!(local.to_string().starts_with("unix: - - ["), "{local}");
    }

    #[test]
    fn what_a_client_sends_cannot_forge_a_line_or_drive_a_terminal() {
        let forged = AccessLine {
            user: Some("a b\n"),
            user_agent: Some("x\" 200\n192.0.2.9 \u{1b}[2J\\\u{202e}é"),
            ..LINE
        };
        let line = forged.to_string();
        assert!(
            line.is_ascii() && !line.bytes().any(|byte| byte.is_ascii_control()),
            "{line}"
        );
        assert!(line.contains(" - a\\x20b\\x0a ["), "{line}");
        assert!(
            line.ends_with("\"x\\\" 200\\x0a192.0.2.9 \\x1b[2J\\\\\\u{202e}\\u{e9}\""),
            "{line}"
        );
    }
}
