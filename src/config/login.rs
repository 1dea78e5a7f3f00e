//! Where a mirror's credentials come from. One kind at a time: two would make a guess which of them is meant.
//! Files are read here only to see that they can be; what they hold is read again by whoever sends it, and never printed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::parse_duration;
use super::files::{docker_config, password, token};
use super::problems::Problems;
use super::secret::Secret;
use super::section::{Field, Section};

/// A user name with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; never empty.
    pub username: String,
    /// The password; may be empty.
    pub password: Secret,
}

/// Where a mirror's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// `username` with `password`.
    Password(Credentials),
    /// `username` with `passwordfile`, read again when the file changes.
    PasswordFile {
        /// The user name; never empty.
        username: String,
        /// The file; a line end after the password is not part of it.
        file: PathBuf,
    },
    /// `dockerconfig`: a docker `config.json`, with its `auths`, `credHelpers` and `credsStore`; read again when it changes.
    DockerConfig {
        /// The file.
        file: PathBuf,
    },
    /// `helper` or `proxy.exec.command`: a program that speaks docker's protocol of credential helpers.
    Helper {
        /// What is run: `docker-credential-<helper>`, or the command as written; a path where it holds a `/`.
        program: String,
        /// How long its answer is used (`lifetime`; default: until the upstream refuses it; 0: ask it for every token).
        lifetime: Option<Duration>,
    },
    /// `tokenfile`: a bearer token, read again when the file changes.
    TokenFile {
        /// The file; a line end after the token is not part of it.
        file: PathBuf,
    },
}

impl fmt::Display for Login {
    /// Says who asks, without a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(credentials) => f.write_str(&credentials.username),
            Self::PasswordFile { username, .. } => f.write_str(username),
            Self::DockerConfig { file } => write!(f, "whoever {} names", file.display()),
            Self::Helper { program, .. } => write!(f, "whoever {program} names"),
            Self::TokenFile { file } => write!(f, "the bearer of {}", file.display()),
        }
    }
}

/// Reads the keys of a mirror: a user name with a password, `dockerconfig`, `helper` or `tokenfile`.
pub(super) fn of_mirror(section: &Section<'_>, problems: &mut Problems) -> Option<Login> {
    let user = user(section, problems);
    let docker = section.field("dockerconfig", problems);
    let helper = section.field("helper", problems);
    let token_file = section.field("tokenfile", problems);
    let lifetime = section.field("lifetime", problems);
    if let (None, Some(lifetime)) = (&helper, &lifetime) {
        lifetime.error(problems, "is set without helper, whose answer it is about");
    }
    let lifetime = lifetime.and_then(|field| field.parse(problems, parse_duration));
    let set = [
        user.as_ref().map(|user| &user.username),
        docker.as_ref(),
        helper.as_ref(),
        token_file.as_ref(),
    ];
    if more_than_one(&set, problems) {
        return None;
    }
    if let Some(user) = user {
        return user.login(problems);
    }
    if let Some(file) = docker {
        let file = file.parse(problems, docker_config)?;
        return Some(Login::DockerConfig { file });
    }
    if let Some(helper) = helper {
        let program = helper.parse(problems, helper_program)?;
        return Some(Login::Helper { program, lifetime });
    }
    let file = token_file?.parse(problems, token)?;
    Some(Login::TokenFile { file })
}

/// Reads the keys of Distribution's `proxy`: a user name with a password, or `exec`.
pub(super) fn of_proxy(section: &Section<'_>, problems: &mut Problems) -> Option<Login> {
    let user = user(section, problems);
    let exec = section.section("exec");
    let command = exec.field("command", problems);
    let lifetime = exec.field("lifetime", problems);
    if let (None, Some(lifetime)) = (&command, &lifetime) {
        lifetime.error(problems, "is set without command, whose answer it is about");
    }
    let lifetime = lifetime.and_then(|field| field.parse(problems, parse_duration));
    let set = [user.as_ref().map(|user| &user.username), command.as_ref()];
    if more_than_one(&set, problems) {
        return None;
    }
    if let Some(user) = user {
        return user.login(problems);
    }
    let program = command?.parse(problems, command_program)?;
    Some(Login::Helper { program, lifetime })
}

/// Notes every kind of credentials beside the first; returns whether there is one.
fn more_than_one(set: &[Option<&Field<'_>>], problems: &mut Problems) -> bool {
    let mut kinds = set.iter().flatten();
    let Some(first) = kinds.next() else {
        return false;
    };
    let mut more = false;
    for other in kinds {
        let reason = format!(
            "{} is set too; only one kind of credentials can be meant",
            first.path
        );
        other.error(problems, &reason);
        more = true;
    }
    more
}

/// A user name, and where its password is.
struct User<'t> {
    username: Field<'t>,
    password: Option<Field<'t>>,
    password_file: Option<Field<'t>>,
}

impl User<'_> {
    fn login(self, problems: &mut Problems) -> Option<Login> {
        if self.username.text.contains(':') {
            let reason = "holds a colon, which ends a user name where it is sent";
            self.username.error(problems, reason);
            return None;
        }
        let texts = [Some(&self.username), self.password.as_ref()];
        let has_control = |field: &&Field<'_>| field.text.chars().any(char::is_control);
        if let Some(field) = texts.into_iter().flatten().find(has_control) {
            field.error(problems, "holds a control character, which cannot be sent");
            return None;
        }
        let username = self.username.text.to_owned();
        if let Some(file) = self.password_file {
            if self.password.is_some() {
                file.error(
                    problems,
                    "password is set too; only one of the two can be meant",
                );
                return None;
            }
            let file = file.parse(problems, password)?;
            return Some(Login::PasswordFile { username, file });
        }
        let password = self.password.map(|field| Secret::new(field.text));
        Some(Login::Password(Credentials {
            username,
            password: password.unwrap_or_default(),
        }))
    }
}

fn user<'t>(section: &Section<'t>, problems: &mut Problems) -> Option<User<'t>> {
    let password = section.field("password", problems);
    let password_file = section.field("passwordfile", problems);
    let Some(username) = section.field("username", problems) else {
        if password.is_some() {
            section.error(problems, "password is set without username");
        }
        if password_file.is_some() {
            section.error(problems, "passwordfile is set without username");
        }
        return None;
    };
    Some(User {
        username,
        password,
        password_file,
    })
}

/// What the names of docker's credential helpers begin with.
const HELPER_PREFIX: &str = "docker-credential-";

/// Returns the program of a helper's name, which may carry the prefix already, or be a path.
fn helper_program(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return command_program(text);
    }
    let name = text.strip_prefix(HELPER_PREFIX).unwrap_or(text);
    command_program(&format!("{HELPER_PREFIX}{name}")).map_err(|_| no_program(text))
}

/// Checks a program without arguments: a path, or a name to be found in `PATH`.
fn command_program(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let is_path = text.contains('/') && !text.ends_with('/') && !text.contains('\0');
    let is_name = text.bytes().all(is_word) && text != HELPER_PREFIX;
    if is_path || is_name {
        return Ok(text.to_owned());
    }
    Err(no_program(text))
}

fn no_program(text: &str) -> String {
    format!("{text:?} is not a program like docker-credential-ecr-login, without arguments")
}
