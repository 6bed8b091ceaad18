//! What the examination comes to.

use serde::Serialize;

/// How bad it is; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Failover works, and would not in some case that happens.
    Warning,
    /// Failover does not work, or two hosts may hold an address.
    Error,
}

/// What mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mend {
    /// A command for a shell, to be run as root on this host.
    Run(String),
    /// What no single command does.
    Do(String),
}

impl Mend {
    pub fn run(command: impl Into<String>) -> Self {
        Mend::Run(command.into())
    }

    pub fn by(advice: impl Into<String>) -> Self {
        Mend::Do(advice.into())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, kebab-case.
    pub code: &'static str,
    pub severity: Severity,
    /// An instance, an interface, a node, or `host`.
    pub about: String,
    /// One sentence without a full stop, as is the next.
    pub what: String,
    pub why: String,
    /// In the order in which to try them; some notes have none.
    pub mend: Vec<Mend>,
}

impl Finding {
    fn new(
        severity: Severity,
        code: &'static str,
        about: impl ToString,
        what: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            about: about.to_string(),
            what: what.into(),
            why: String::new(),
            mend: Vec::new(),
        }
    }

    pub fn error(code: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, about, what)
    }

    pub fn warning(code: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, about, what)
    }

    pub fn note(code: &'static str, about: impl ToString, what: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, about, what)
    }

    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    #[must_use]
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.mend.push(Mend::run(command));
        self
    }

    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.mend.push(Mend::by(advice));
        self
    }
}

/// Whether packets pass one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Direction {
    /// Null where nothing that was seen or told says so.
    pub works: Option<bool>,
    /// How that is known, or what would tell.
    pub text: String,
}

impl Direction {
    pub fn works(text: impl Into<String>) -> Self {
        Self::of(Some(true), text)
    }

    pub fn fails(text: impl Into<String>) -> Self {
        Self::of(Some(false), text)
    }

    pub fn unknown(text: impl Into<String>) -> Self {
        Self::of(None, text)
    }

    fn of(works: Option<bool>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { works, text }
    }
}

/// One way to a peer, and back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    /// `vrrp`, `peer-link` or `echo`.
    pub carries: &'static str,
    /// The instance, for `vrrp`; otherwise empty.
    pub instance: String,
    /// Null where only the address is known.
    pub node: Option<String>,
    /// Empty where no peer is known.
    pub address: String,
    pub from_peer: Direction,
    pub to_peer: Direction,
}
