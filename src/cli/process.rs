//! What `run` and `serve` do to their own process: its log, its limits, its last words.
//!
//! Nothing here knows what is served. Invariant: a line on standard error that cannot be written is lost, and
//! nothing else with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::Failure;

/// The variable that says how much is logged, in the form of `RUST_LOG`.
const LOG_FILTER: &str = "PORTCULLIS_LOG";

/// A log that is open; what happens before it is started is not in it.
pub(super) struct Log {
    file: Option<File>,
    filter: EnvFilter,
    late: Vec<String>,
}

impl Log {
    /// Opens the file, where there is one, and reads the variable that says how much is logged.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { file: path.map(open_log).transpose()?, filter: log_filter()?, late: Vec::new() })
    }

    /// Logs a warning once the log is started.
    pub(super) fn tell_later(&mut self, warning: String) {
        self.late.push(warning);
    }

    pub(super) fn start(self) {
        let Some(file) = self.file else { return };
        // A full disk is not to be told on the command's terminal.
        let log = tracing_subscriber::fmt().log_internal_errors(false);
        log.with_ansi(false).with_env_filter(self.filter).with_writer(Mutex::new(file)).init();
        for warning in self.late {
            tracing::warn!("{warning}");
        }
    }
}

fn open_log(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|error| {
        format!("--log {}: {error}; name a file that can be appended to", path.display()).into()
    })
}

fn log_filter() -> Result<EnvFilter, Failure> {
    let Some(text) = std::env::var_os(LOG_FILTER) else { return Ok(EnvFilter::new("info")) };
    let filter = EnvFilter::try_new(text.to_string_lossy());
    filter.map_err(|error| format!("variable {LOG_FILTER}: {error}; set it as in portcullis=debug").into())
}

/// A flow has a descriptor or two; the usual soft limit of 1,024 is far below [`Limits::flows`].
///
/// [`Limits::flows`]: crate::limits::Limits::flows
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the descriptor limit stays as it is");
    }
}

/// Where huge pages are `always` on, one touched octet of a flow's ring would cost 2 MiB. The command was forked
/// before and keeps the caller's setting.
pub(super) fn refuse_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "huge pages stay as they are, and idle flows may take more memory");
    }
}

/// Whether whoever started us has us ignore hang-ups, as `nohup` does. A diverted signal is read all the same.
pub(super) fn ignores_hangups() -> bool {
    const HANGUP: u64 = 1 << (libc::SIGHUP - 1);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}

/// One line on standard error.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "portcullis: {line}");
}
