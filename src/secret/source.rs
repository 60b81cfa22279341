//! Where a secret's value comes from.
//!
//! Always from the host, never from an argument: arguments are world-readable. This file and those below it are the
//! ones of the module that look outside the process, and they block. Invariant: an error names the source, never what
//! was in it, and of a command its program and what it complains of.

mod command;
mod complaint;
mod file;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::life::Loaded;
use super::value::{SecretValue, ValueError};
use crate::limits::Limits;
use crate::tls;

pub(crate) use file::Stamp;

const ENV: &str = "env://";
const FILE: &str = "file://";
const COMMAND: &str = "cmd://";

/// A place on the host that holds a secret's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// `env://NAME`: the environment variable of that name.
    Env(String),
    /// `file:///PATH`: all that is in the file, without one line end.
    File(PathBuf),
    /// What a command prints.
    Command(Argv),
}

/// A program and its arguments; no shell ever sees them.
///
/// Its `Debug` and every error show the program alone, and what that itself complains of.
#[derive(Clone, Eq, PartialEq)]
pub struct Argv {
    program: String,
    arguments: Vec<String>,
}

impl Source {
    /// Reads `env://NAME` or `file:///PATH`. A command is a list: [`Source::command`].
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(name) = text.strip_prefix(ENV) {
            return if is_variable(name) { Ok(Self::Env(name.to_owned())) } else { Err(SourceError::Name) };
        }
        if let Some(path) = text.strip_prefix(FILE) {
            let path = Path::new(path);
            let names_a_file = path.file_name().is_some() && !text.ends_with('/') && !text.contains('\0');
            return if path.is_absolute() && names_a_file {
                Ok(Self::File(path.to_owned()))
            } else {
                Err(SourceError::Path)
            };
        }
        Err(if text.starts_with(COMMAND) { SourceError::CommandText } else { SourceError::Scheme })
    }

    /// A program and its arguments, which print the value and nothing else, or
    /// `{"value": "…", "expires_at": "2030-01-02T03:04:05Z"}`.
    pub fn command(argv: Vec<String>) -> Result<Self, SourceError> {
        let mut argv = argv.into_iter();
        let program = argv.next().filter(|program| !program.is_empty()).ok_or(SourceError::NoProgram)?;
        let arguments: Vec<String> = argv.collect();
        if program.contains('\0') || arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(SourceError::NoProgram);
        }
        Ok(Self::Command(Argv { program, arguments }))
    }

    /// Reads the value; a command runs for `Limits::source_timeout` at most.
    pub fn load(&self, limits: &Limits) -> Result<Loaded, SourceError> {
        self.load_with(Bounds { limits, stop: None }, |name| env::var_os(name))
    }

    /// The same; a command is killed as soon as the other end of the pipe `stop` is closed.
    pub(crate) fn load_until(&self, limits: &Limits, stop: &OwnedFd) -> Result<Loaded, SourceError> {
        self.load_with(Bounds { limits, stop: Some(stop) }, |name| env::var_os(name))
    }

    fn load_with(
        &self,
        bounds: Bounds<'_>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Loaded, SourceError> {
        let unfit = |cause| SourceError::Value { origin: self.clone(), cause };
        match self {
            Self::Env(name) => {
                if !is_variable(name) {
                    return Err(SourceError::Name);
                }
                let value = variable(name).ok_or_else(|| SourceError::Unset { name: name.clone() })?;
                SecretValue::new(value.into_encoded_bytes()).map(Loaded::from).map_err(unfit)
            }
            Self::File(path) => {
                let content = file::read(path)
                    .map_err(|cause| SourceError::File { path: path.clone(), cause: cause.kind() })?;
                SecretValue::new(content).map(Loaded::from).map_err(unfit)
            }
            Self::Command(argv) => {
                let command::Ran { outcome, said } = command::run(argv, bounds);
                let failed = |cause| SourceError::Command {
                    program: argv.shown().into(),
                    cause,
                    said: said.as_str().into(),
                };
                let output = outcome.map_err(failed)?;
                if !said.is_empty() {
                    let program = argv.shown();
                    tracing::warn!(program, said, "a secret's command writes to its standard error");
                }
                let command::Printed { value, expires } = command::read(&output).map_err(failed)?;
                let value = SecretValue::new(value).map_err(unfit)?;
                if expires.is_some_and(|expires| expires <= tls::wall_clock()) {
                    return Err(failed(CommandError::Expired));
                }
                Ok(Loaded { value, expires })
            }
        }
    }

    /// The file that a guest of this machine must not see.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Command(_) => None,
        }
    }
}

/// What ends a command.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    limits: &'a Limits,
    /// A pipe that nothing is written to; once its other end is closed nobody waits for the value any more.
    stop: Option<&'a OwnedFd>,
}

impl Argv {
    /// The program, on one line.
    fn shown(&self) -> String {
        self.program.escape_debug().to_string()
    }
}

impl fmt::Debug for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argv").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Whether `name` can be an environment variable's: letters, digits and `_`, no digit first.
///
/// That keeps most secrets, given in place of their names, out of error texts.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "{ENV}{name}"),
            Self::File(path) => write!(f, "{FILE}{}", path.to_string_lossy().escape_debug()),
            Self::Command(argv) => write!(f, "{COMMAND}{}", argv.shown()),
        }
    }
}

/// Why a source gave no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// Not a scheme we read. The text is not repeated: it may be the secret itself, pasted in the wrong place.
    #[error(
        "is no source of a secret; write env://NAME for the host's variable NAME, file:///PATH for a file, or \
         {{ cmd = [\"PROGRAM\", \"ARGUMENT\"] }} for a command"
    )]
    Scheme,
    /// No variable's name.
    #[error("names no environment variable; a name is letters, digits and '_', as in env://API_TOKEN")]
    Name,
    /// No absolute path of a file.
    #[error("names no file by an absolute path; write three slashes, as in file:///etc/keys/api-token")]
    Path,
    /// A command in one text, which only a shell could take apart.
    #[error("is a command in one text; write it as a list: from = {{ cmd = [\"PROGRAM\", \"ARGUMENT\"] }}")]
    CommandText,
    /// A command without a program, or one with a NUL.
    #[error("names no program; write from = {{ cmd = [\"PROGRAM\", \"ARGUMENT\"] }}")]
    NoProgram,
    /// The variable does not exist.
    #[error("the host's environment variable {name} is not set; export it before you start")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The file is not there, or not to be read.
    #[error("the file {} cannot be read ({cause}); see that it is there and that this user can read it", .path.to_string_lossy().escape_debug())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::ErrorKind,
    },
    /// The command gave nothing that could be taken.
    #[error("the command {program} {cause}{}{said}", if .said.is_empty() { "" } else { "; it says: " })]
    Command {
        /// The program, without its arguments.
        program: Box<str>,
        /// Why.
        cause: CommandError,
        /// The last it wrote to its standard error: one line, escaped, bounded by `Limits::source_complaint`, and
        /// without what it printed. Empty where it wrote nothing.
        said: Box<str>,
    },
    /// There is a value, but it cannot be a secret.
    #[error("the value of {origin} {cause}")]
    Value {
        /// Where it was read.
        origin: Source,
        /// What is wrong with it.
        cause: ValueError,
    },
}

/// Why a command gave no secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("cannot be started ({0}); name a program that this user can execute")]
    Start(io::ErrorKind),
    /// It cannot be listened to.
    #[error("cannot be waited for ({0}); try again")]
    System(io::ErrorKind),
    /// It took too long.
    #[error(
        "has not ended in {0:?} and was killed; see that it asks for nothing, or raise [limits] source_timeout"
    )]
    Timeout(Duration),
    /// Nobody waits for it any more.
    #[error("was killed, since the sandbox has ended")]
    Stopped,
    /// It ended otherwise than with success.
    #[error("ended with exit code {0}; run it by hand to see why")]
    Exit(i32),
    /// A signal ended it.
    #[error("was ended by a signal; run it by hand to see why")]
    Signal,
    /// It printed too much.
    #[error("printed more than {0} octets; see that it prints the value alone")]
    Output(usize),
    /// It printed JSON of another form.
    #[error("printed JSON that is not of the form {{\"value\": TEXT, \"expires_at\": TIME}}")]
    Json,
    /// It printed a time that is none.
    #[error("printed an expires_at that is neither a time as in 2030-01-02T03:04:05Z nor seconds since 1970")]
    Time,
    /// What it printed is worth nothing any more.
    #[error("printed a value that has expired already; see that the machine's clock is right")]
    Expired,
}

#[cfg(test)]
mod tests;
