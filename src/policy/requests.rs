//! Methods and paths, the part of a rule that is about HTTP requests.
//!
//! It matches what the gate has let by; it judges nothing. Invariant: what servers may read differently never makes
//! a rule allow more, or deny less, than its text says.

use globset::{GlobBuilder, GlobMatcher};

use super::error::RuleError;
use super::path::Path;

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
    glob: GlobMatcher,
}

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
        let (mut matched, mut missed) = (false, false);
        for reading in path.readings() {
            let is_meant = self.paths.iter().any(|own| own.glob.is_match(reading));
            (matched, missed) = (matched || is_meant, missed || !is_meant);
        }
        match (matched, missed) {
            (false, _) => Readings::None,
            (true, true) => Readings::Some,
            (true, false) => Readings::All,
        }
    }

    /// Whether every request that `other` is about is meant here too, as far as the texts tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has_path = |text: &String| self.paths.iter().any(|own| own.text == *text || own.text == "/**");
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
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
        Ok(Self { text: text.to_owned(), glob: glob.map_err(|_| RuleError::Path)?.compile_matcher() })
    }
}

/// A glob is over canonical paths, so it has to be one. An escaped slash is data there, and may stand.
fn is_canonical(text: &str) -> bool {
    !Path::new(&text.replace("%2F", "")).is_ambiguous() && !text.contains(['?', '#', ' '])
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
        assert_eq!(path("/projects/a%2Fb/**"), None);
        assert_eq!(
            (method("get"), method(""), method("A B")),
            (Some(RuleError::Method), Some(RuleError::Method), Some(RuleError::Method))
        );
        assert_eq!(method("TRACE"), Some(RuleError::MethodNeverPassed));
    }
}
