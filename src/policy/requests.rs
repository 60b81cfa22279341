//! Methods and paths, the part of a rule that is about HTTP requests.
//!
//! It matches what the gate has let by; it judges nothing. Invariant: what servers may read differently never makes
//! a rule allow more, or deny less, than its text says.

use globset::{GlobBuilder, GlobMatcher};

use super::error::RuleError;
use super::path::{self, Fault, Path, has_dots};

/// Which requests a rule is about.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Empty: any.
    methods: Vec<String>,
    /// Empty: any.
    paths: Vec<PathGlob>,
}

/// Paths as a rule writes them: `*` is any text without `/`, `**` as a whole segment any number of segments.
#[derive(Clone, Debug)]
struct PathGlob {
    text: String,
    /// Over canonical paths.
    canonical: GlobMatcher,
    /// Over the readings in which an escape that it has is undone.
    decoded: Option<GlobMatcher>,
    /// In letters of either case, and without a slash at its end: what it may mean to a server.
    loose: GlobMatcher,
}

/// The glob of every path there is.
const EVERYTHING: &str = "/**";

/// How many readings of a request match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Readings {
    None,
    Some,
    All,
}

impl Requests {
    /// Reads methods in capitals and globs over canonical paths; nothing of one kind means any.
    pub(super) fn new<'a>(
        methods: impl IntoIterator<Item = &'a str>,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, RuleError> {
        Ok(Self {
            methods: methods.into_iter().map(method).collect::<Result<_, _>>()?,
            paths: paths.into_iter().map(PathGlob::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `method` on `path` is meant, in how many readings of the path.
    pub(super) fn matches(&self, method: &str, path: &Path<'_>) -> Readings {
        if !self.methods.is_empty() && !self.methods.iter().any(|own| own == method) {
            return Readings::None;
        }
        if self.paths.is_empty() {
            return Readings::All;
        }
        if self.paths.iter().any(|own| own.text == EVERYTHING) {
            return Readings::All;
        }
        if path.is_unclear() {
            return Readings::Some;
        }
        let mut readings = path.readings();
        let meant = |means: fn(&PathGlob, &str) -> bool, reading: &str| {
            self.paths.iter().any(|own| means(own, reading))
        };
        let canonical = readings.next().is_some_and(|reading| meant(PathGlob::is_it, reading));
        if canonical && readings.all(|reading| meant(PathGlob::may_be_it, reading)) {
            return Readings::All;
        }
        let may_mean = path.readings().any(|reading| meant(PathGlob::may_mean, reading));
        if may_mean { Readings::Some } else { Readings::None }
    }

    /// Whether every request that `other` is about is meant here too, as far as the texts tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has_path =
            |text: &String| self.paths.iter().any(|own| own.text == *text || own.text == EVERYTHING);
        (self.methods.is_empty()
            || !other.methods.is_empty() && other.methods.iter().all(|method| self.methods.contains(method)))
            && (self.paths.is_empty()
                || !other.paths.is_empty() && other.paths.iter().all(|path| has_path(&path.text)))
    }

    /// Its methods; none means any.
    #[must_use]
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// Its paths as written; none means any.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(|path| path.text.as_str())
    }
}

/// Reads a method of RFC 9110 §9.1; the gate lets by only capitals.
fn method(text: &str) -> Result<String, RuleError> {
    let is_token =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_.!#$&'*+^`|~".contains(&byte);
    if matches!(text, "CONNECT" | "TRACE") {
        return Err(RuleError::MethodNeverPassed);
    }
    if text.is_empty() || !text.bytes().all(is_token) || !text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(RuleError::Method);
    }
    Ok(text.to_owned())
}

impl PathGlob {
    fn parse(text: &str) -> Result<Self, RuleError> {
        if !text.starts_with('/') || text.contains(['[', ']', '{', '}']) {
            return Err(RuleError::Path);
        }
        if !is_canonical(text) {
            return Err(RuleError::PathNotCanonical);
        }
        // What no request line can hold stands there escaped.
        let canonical = path::canonical(text);
        let decoded = canonical.contains('%').then(|| path::decoded(&canonical, Fault::Unclear)).flatten();
        let loose = decoded.as_deref().unwrap_or(&canonical);
        let loose = if loose.len() > 1 { loose.trim_end_matches('/') } else { loose };
        Ok(Self {
            text: text.to_owned(),
            canonical: matcher(&canonical, Case::Counts)?,
            loose: matcher(loose, Case::Ignored)?,
            decoded: decoded.map(|text| matcher(&text, Case::Counts)).transpose()?,
        })
    }

    /// Whether a canonical path is meant.
    fn is_it(&self, path: &str) -> bool {
        self.canonical.is_match(path)
    }

    /// Whether another reading of one is.
    fn may_be_it(&self, reading: &str) -> bool {
        self.is_it(reading) || self.decoded.as_ref().is_some_and(|glob| glob.is_match(reading))
    }

    /// Whether some server may take a reading for what is meant.
    fn may_mean(&self, reading: &str) -> bool {
        let bare = if reading.len() > 1 { reading.trim_end_matches('/') } else { reading };
        let is_loosely = |path: &str| self.loose.is_match(path);
        self.may_be_it(reading) || is_loosely(reading) || is_loosely(bare) || is_loosely(&format!("{bare}/"))
    }
}

/// Whether letters differ by their case.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Case {
    Counts,
    Ignored,
}

fn matcher(glob: &str, case: Case) -> Result<GlobMatcher, RuleError> {
    let mut builder = GlobBuilder::new(glob);
    builder.literal_separator(true).backslash_escape(false).case_insensitive(case == Case::Ignored);
    Ok(builder.build().map_err(|_| RuleError::Path)?.compile_matcher())
}

/// A glob is over canonical paths, so it has to be one: escapes only of what a segment cannot hold otherwise, and of
/// nothing that means something in a glob or cuts a path off.
fn is_canonical(text: &str) -> bool {
    let is_data = |octet: u8| !octet.is_ascii_control() && !b"*?[]{}\\;#%".contains(&octet);
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('%') {
        let Some(code) = escape.get(..2) else { return false };
        let Ok(octet) = u8::from_str_radix(code, 16) else { return false };
        if !is_data(octet) || path::canonical(&format!("%{code}")) != format!("%{code}") {
            return false;
        }
        rest = escape.get(2..).unwrap_or_default();
    }
    let whole = path::canonical(text);
    let is_text = path::decoded(&whole, Fault::Unclear).is_some_and(|text| !text.contains('\u{FFFD}'));
    is_text && !text.contains(['?', '#', ';', '\\', ' ']) && !text.contains("//") && !has_dots(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(methods: &[&str], paths: &[&str]) -> Requests {
        Requests::new(methods.iter().copied(), paths.iter().copied()).unwrap()
    }

    #[test]
    fn stars_stay_within_their_segments() {
        let table = [
            ("/repos/acme/**", "/repos/acme/x", true),
            ("/repos/acme/**", "/repos/acme/x/y", true),
            ("/repos/acme/**", "/repos/acme", false),
            ("/repos/acme/**", "/repos/acmex/y", false),
            ("/repos/*/issues", "/repos/a/issues", true),
            ("/repos/*/issues", "/repos/a/b/issues", false),
            ("/**/issues", "/a/b/issues", true),
            ("/v1/chat", "/v1/chat", true),
            ("/v1/chat", "/v1/chat/", false),
            ("/v1/ch*", "/v1/chat", true),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/", "/", true),
            ("/", "/a", false),
        ];
        for (glob, path, meant) in table {
            let is_all = requests(&[], &[glob]).matches("GET", &Path::new(path)) == Readings::All;
            assert_eq!(is_all, meant, "{glob} on {path}");
        }
    }

    #[test]
    fn a_spelling_that_servers_read_differently_matches_in_some_readings() {
        let open = requests(&["GET"], &["/repos/acme/**"]);
        for path in ["/repos/acme/../../user", "/repos/acme/%2e%2e/%2e%2e/user", "/repos/acme/..;/..;/user"] {
            assert_eq!(open.matches("GET", &Path::new(path)), Readings::Some, "{path}");
        }
        let shut = requests(&[], &["/admin/**"]);
        for path in
            ["//admin/x", "/x/../admin/x", "/%61dmin/x", "/admin;a/x", "/x\\..\\admin/x", "/admin%2fx"]
        {
            assert_ne!(shut.matches("GET", &Path::new(path)), Readings::None, "{path}");
        }
        assert_eq!(open.matches("POST", &Path::new("/repos/acme/x")), Readings::None);
    }

    #[test]
    fn a_glob_may_hold_escapes_of_what_is_data() {
        let table = [
            ("/projects/a%2Fb/**", "/projects/a%2Fb/x", Readings::All),
            ("/projects/a%2Fb/**", "/projects/a%2fb/x", Readings::All),
            ("/projects/a%2Fb/**", "/projects/a/b/x", Readings::Some),
            ("/projects/a/b/**", "/projects/a%2Fb/x", Readings::Some),
            ("/projects/*/x", "/projects/a%2Fb/x", Readings::Some),
            ("/a%20b", "/a%20b", Readings::All),
            ("/café/*", "/caf%c3%a9/x", Readings::All),
            ("/café/*", "/café/x", Readings::All),
            ("/caf%C3%A9/*", "/caf%C3%A9/x", Readings::All),
            ("/v1/*", "/v1/%61", Readings::All),
            ("/v1/*", "/v1/100%25", Readings::All),
            ("/v1/*", "/v1/50%25%20off", Readings::All),
            ("/v1/*", "/v1/M%FCller", Readings::All),
            ("/v1/*", "/v1/v1.2.", Readings::All),
            ("/**", "/a/../b", Readings::All),
            ("/**", "/a%zz", Readings::All),
        ];
        for (glob, path, meant) in table {
            assert_eq!(requests(&[], &[glob]).matches("GET", &Path::new(path)), meant, "{glob} on {path}");
        }
    }

    #[test]
    fn what_a_server_may_take_for_the_same_is_meant_in_some_readings() {
        for (glob, path) in [
            ("/admin", "/admin/"),
            ("/admin", "/ADMIN"),
            ("/admin/", "/admin"),
            ("/admin/**", "/Admin/x"),
            ("/admin", "/admin//"),
            ("/admin", "/x/../y"),
            ("/admin", "/a%zz"),
            ("/admin/**", "/admin"),
            ("/admin/x", "/admin./x"),
            ("/admin/x", "/admin%20/x."),
            ("/admin/y", "/admin;\\x/y"),
            ("/a/**/y", "/a/%3f%2fy"),
        ] {
            assert_eq!(
                requests(&[], &[glob]).matches("GET", &Path::new(path)),
                Readings::Some,
                "{glob} on {path}"
            );
        }
        assert_eq!(requests(&[], &["/admin"]).matches("GET", &Path::new("/admins")), Readings::None);
    }

    #[test]
    fn what_is_no_method_or_no_path_is_refused() {
        let path = |text| Requests::new([], [text]).err();
        let method = |text| Requests::new([text], []).err();
        assert_eq!(
            (path("a"), path("/[a]"), path("/{a,b}")),
            (Some(RuleError::Path), Some(RuleError::Path), Some(RuleError::Path))
        );
        for text in ["/a//b", "/a/../b", "/%61", "/a;b", "/a?b", "/a#b", "/a\\b", "/./a", "/a b"] {
            assert_eq!(path(text), Some(RuleError::PathNotCanonical), "{text}");
        }
        for text in
            ["/a%2fb", "/%41", "/a%3Fb", "/a%2Ab", "/a%25b", "/a%5Cb", "/a%00", "/a%2", "/%FF", "/a%3B"]
        {
            assert_eq!(path(text), Some(RuleError::PathNotCanonical), "{text}");
        }
        for text in ["/projects/a%2Fb/**", "/a%20b", "/café/*", "/caf%C3%A9", "/a+b@c:d,e"] {
            assert_eq!(path(text), None, "{text}");
        }
        assert_eq!(
            (method("get"), method(""), method("A B")),
            (Some(RuleError::Method), Some(RuleError::Method), Some(RuleError::Method))
        );
        assert_eq!(method("TRACE"), Some(RuleError::MethodNeverPassed));
    }
}
