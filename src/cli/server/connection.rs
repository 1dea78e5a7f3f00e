//! The running server as these commands see it: its management API over the socket in the state directory,
//! or over the network. Every failure is one line that says what to do.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arguments::ServerArguments;
use crate::cli::Failure;
use crate::cli::client_config::Server as Address;
use crate::config::{Environment, load};

/// The longest path that the address of a Unix socket holds on Linux, in bytes.
const LONGEST_PATH: usize = 107;

/// How long a connection and an answer may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// A server that can be asked.
pub(in crate::cli) struct Server {
    http: Client,
    base: String,
    token: Option<String>,
    /// Kept open while the path of the socket leads through its descriptor.
    _directory: Option<File>,
}

/// What a refusal says, of RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Server {
    /// Returns the server that `arguments` name: by its URL, else by the socket that the configuration
    /// leads to.
    pub(in crate::cli) fn find(
        arguments: &ServerArguments,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        match &arguments.server {
            Some(url) => Self::at(url, token(arguments, environment)?),
            None => {
                let loaded = load(&arguments.configuration.sources(), environment)?;
                Self::of_socket(&loaded.config.storage.socket())
            }
        }
    }

    /// Returns the server that runs with this configuration; `None` where none does, so that the command may do its work
    /// itself. One that is named by its URL must be there.
    ///
    /// # Errors
    /// The configuration's, and a socket that belongs to somebody else.
    pub(in crate::cli) fn running(
        arguments: &ServerArguments,
        environment: &Environment,
    ) -> Result<Option<Self>, Failure> {
        if arguments.server.is_some() {
            return Self::find(arguments, environment).map(Some);
        }
        let loaded = load(&arguments.configuration.sources(), environment)?;
        let path = loaded.config.storage.socket();
        let connected = shortened(&path).and_then(|(short, _kept)| UnixStream::connect(short));
        match connected {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Ok(_) | Err(_) => Self::of_socket(&path).map(Some),
        }
    }

    /// Tells whether a server answers on the socket at `path`.
    pub(in crate::cli) fn answers_at(path: &Path) -> bool {
        shortened(path)
            .and_then(|(short, _kept)| UnixStream::connect(short))
            .is_ok()
    }

    fn at(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let address =
            Address::at(url).map_err(|reason| Failure::new(format!("--server {url}: {reason}")))?;
        let http = Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(ANSWER_TIME)
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self {
            http: http.build().map_err(unbuilt)?,
            base: address.url().to_owned(),
            token,
            _directory: None,
        })
    }

    fn of_socket(path: &Path) -> Result<Self, Failure> {
        let (short, directory) = shortened(path).map_err(|error| unreachable(path, &error))?;
        // The one try that tells why there is no connection; requests make their own.
        UnixStream::connect(&short).map_err(|error| unreachable(path, &error))?;
        let http = Client::builder()
            .unix_socket(short)
            .no_proxy()
            .timeout(ANSWER_TIME)
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self {
            http: http.build().map_err(unbuilt)?,
            base: "http://seawall".to_owned(),
            token: None,
            _directory: directory,
        })
    }

    /// Reads what is at `path` of the management API.
    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}/api/v1{path}", self.base);
        self.ask(self.http.get(url)).await
    }

    /// Sends `body` to `path` of the management API.
    pub(in crate::cli) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Value, Failure> {
        let url = format!("{}/api/v1{path}", self.base);
        self.ask(self.http.post(url).json(body)).await
    }

    async fn ask(&self, mut request: RequestBuilder) -> Result<Value, Failure> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(unanswered)?;
        if response.status().is_success() {
            return response.json().await.map_err(unanswered);
        }
        Err(refused(response).await)
    }
}

/// Returns a path to the same socket that fits into an address, and what has to stay open meanwhile.
fn shortened(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return Ok((path.to_owned(), None));
    }
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    let name = path.file_name().unwrap_or_default();
    Ok((short.join(name), Some(directory)))
}

fn token(
    arguments: &ServerArguments,
    environment: &Environment,
) -> Result<Option<String>, Failure> {
    let Some(file) = &arguments.tokenfile else {
        return Ok(arguments.token.clone().or_else(|| environment.token()));
    };
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => Err(Failure::new(format!(
            "cannot read --tokenfile {}: {error}",
            file.display()
        ))),
    }
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let directory = path.parent().unwrap_or(path).display();
    Failure::new(match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no server runs with the data directory {directory}: start it with `seawall serve`, or name the right one with --data, --config or --server"
        ),
        ErrorKind::PermissionDenied => format!(
            "the socket of the server in {directory} is for its owner alone: run this as the user who runs the server"
        ),
        _ => format!("cannot reach the server in {directory} over its socket: {error}"),
    })
}

fn unbuilt(error: reqwest::Error) -> Failure {
    Failure::new(format!("cannot set up a connection: {}", told(&error)))
}

fn unanswered(error: reqwest::Error) -> Failure {
    let reason = told(&error);
    Failure::new(format!(
        "the server does not answer ({reason}): see whether it runs and what it logs"
    ))
}

/// Returns what a server said as one line that drives no terminal.
pub(in crate::cli) fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// Returns the last cause, which says most.
fn told(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

async fn refused(response: Response) -> Failure {
    let status = response.status();
    match response.json::<Problem>().await {
        Ok(problem) => {
            let detail = printable(&problem.detail);
            Failure::new(format!("the server refuses ({status}): {detail}"))
        }
        Err(_) => Failure::new(format!(
            "what answers with {status} is no management API of Seawall: check --server, and api.enabled there"
        )),
    }
}
