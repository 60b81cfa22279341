//! What happened, told in order, and every claim of it checked.

use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::guest::Report;
use crate::upstream::Seen;
use crate::{HOST, OTHER, TOKEN};

/// All that is known at the end.
pub(crate) struct Story {
    /// What and where the guest is, line by line.
    pub(crate) place: Vec<String>,
    /// Where the upstream listens.
    pub(crate) upstream: SocketAddr,
    /// The real token.
    pub(crate) secret: String,
    /// The guest's variables.
    pub(crate) placeholders: Vec<(String, String)>,
    /// What the guest says.
    pub(crate) report: Report,
    /// What the upstream says.
    pub(crate) seen: Vec<Seen>,
}

impl Story {
    /// Tells it; whether all of it is true.
    pub(crate) fn tell(&self, out: &mut impl Write, started: Instant) -> io::Result<bool> {
        let Report { token, allowed, denied } = &self.report;
        let mut page = Page { out, paint: Paint::of_stdout(), story: self };
        let labels = ["The guest"].into_iter().chain(std::iter::repeat(""));
        for (label, line) in labels.zip(&self.place) {
            page.head(label, line)?;
        }
        page.head(
            "The upstream",
            &format!("a TLS server at {}, which the guest knows as {HOST}", self.upstream),
        )?;
        page.line("", "")?;
        page.line("1  the guest holds", &format!("{TOKEN}={token}"))?;
        page.line("2  the guest sends", &allowed.request)?;
        page.line("", &format!("authorization: {}", allowed.authorization))?;
        for seen in &self.seen {
            page.line("3  the upstream sees", &seen.request)?;
            page.line("", &format!("authorization: {}", seen.authorization))?;
        }
        page.line("4  the guest gets", &format!("{} {}", allowed.status, allowed.body))?;
        page.line("5  another host", &denied.request)?;
        page.line("", &format!("{} {}", denied.status, denied.body))?;
        page.line("", "")?;
        page.verdict(started)
    }

    /// Every claim, and whether it holds.
    fn claims(&self) -> Vec<(&'static str, bool)> {
        let Report { token, allowed, denied } = &self.report;
        let bearer = |token: &str| format!("Bearer {token}");
        let only = match self.seen.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        vec![
            ("the guest holds the placeholder", self.placeholders == [(TOKEN.to_owned(), token.clone())]),
            ("the placeholder is not the token", *token != self.secret),
            ("the placeholder is as long as the token", token.len() == self.secret.len()),
            ("the guest sent the placeholder", allowed.authorization == bearer(token)),
            ("the guest spoke HTTP/2", allowed.request.ends_with("HTTP/2.0")),
            (
                "the upstream saw one request, the guest's",
                only.is_some_and(|seen| seen.request == allowed.request),
            ),
            (
                "the upstream saw the token",
                only.is_some_and(|seen| seen.authorization == bearer(&self.secret)),
            ),
            ("the guest got the upstream's answer", allowed.status == 200),
            ("the echo holds the placeholder", allowed.body.contains(&bearer(token))),
            (
                "the token is in nothing that the guest knows",
                !format!("{:?}", self.report).contains(&self.secret),
            ),
            ("the other host is refused", denied.status == 403),
            ("the refusal names the flag", denied.body.contains(&format!("--allow {OTHER}"))),
        ]
    }
}

/// Where the story is written.
struct Page<'a, W> {
    out: &'a mut W,
    paint: Paint,
    story: &'a Story,
}

impl<W: Write> Page<'_, W> {
    fn head(&mut self, who: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "{who:<14}{text}")
    }

    /// One line; a token or placeholder in it is marked for what it is.
    fn line(&mut self, label: &str, text: &str) -> io::Result<()> {
        let Story { secret, report: Report { token, .. }, .. } = self.story;
        let (text, mark) = if text.contains(secret.as_str()) {
            (self.paint.red(text, secret), "   <- the real token")
        } else if text.contains(token.as_str()) {
            (self.paint.green(text, token), "   <- the placeholder")
        } else {
            (text.to_owned(), "")
        };
        writeln!(self.out, "{}", format!("  {label:<22}{text}{mark}").trim_end())
    }

    fn verdict(self, started: Instant) -> io::Result<bool> {
        let claims = self.story.claims();
        let failed: Vec<_> = claims.iter().filter(|(_, holds)| !holds).map(|(claim, _)| *claim).collect();
        for claim in &failed {
            crate::complain(&format!("this does not hold: {claim}"));
        }
        if failed.is_empty() {
            let millis = started.elapsed().as_millis();
            writeln!(self.out, "All {} claims were checked, in {millis} ms.", claims.len())?;
        }
        Ok(failed.is_empty())
    }
}

/// Whether the terminal has colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Paint {
    /// It has.
    Colours,
    /// There is no terminal, or it has none, or they are not wanted (<https://no-color.org>).
    Plain,
}

impl Paint {
    fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if io::stdout().is_terminal() && !unwanted && !dumb { Self::Colours } else { Self::Plain }
    }

    fn red(self, text: &str, part: &str) -> String {
        self.with(text, part, "31")
    }

    fn green(self, text: &str, part: &str) -> String {
        self.with(text, part, "32")
    }

    fn with(self, text: &str, part: &str, colour: &str) -> String {
        match self {
            Self::Colours => text.replace(part, &format!("\x1b[{colour}m{part}\x1b[0m")),
            Self::Plain => text.to_owned(),
        }
    }
}
