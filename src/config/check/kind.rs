//! Of which kind a check is, and which options that kind has.

use crate::config::fault::{Finding, Findings, Place, quoted};
use crate::config::read::Section;
use crate::config::yaml::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Script,
    Tcp,
    Http,
    Interface,
    File,
    Any,
    All,
    AtLeast,
}

/// How a check comes to its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Asked again and again.
    Run,
    /// Nothing is run: why not, and of what.
    Followed {
        of: &'static str,
        because: &'static str,
    },
}

/// For those that are run.
const TIMES: [&str; 4] = ["interval", "timeout", "rise", "fall"];

/// Options, whose they are, and why nobody else's.
const OPTIONS: [(&str, &[Kind], &str); 4] = [
    (
        "status",
        &[Kind::Http],
        "only a web server is asked for a page",
    ),
    (
        "host",
        &[Kind::Http],
        "only a web server is asked for a page",
    ),
    ("ca", &[Kind::Http], "only a web server is asked for a page"),
    (
        "insecure",
        &[Kind::Http],
        "only a web server is asked for a page",
    ),
];

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Script,
        Kind::Tcp,
        Kind::Http,
        Kind::Interface,
        Kind::File,
        Kind::Any,
        Kind::All,
        Kind::AtLeast,
    ];

    /// As in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Script => "script",
            Kind::Tcp => "tcp",
            Kind::Http => "http",
            Kind::Interface => "interface",
            Kind::File => "file",
            Kind::Any => "any",
            Kind::All => "all",
            Kind::AtLeast => "at_least",
        }
    }

    fn way(self) -> Way {
        match self {
            Kind::Script | Kind::Tcp | Kind::Http => Way::Run,
            Kind::Interface => Way::Followed {
                of: "an interface",
                because: "the kernel says at once when the interface goes or returns",
            },
            Kind::File => Way::Followed {
                of: "a file",
                because: "the kernel says at once when the file changes",
            },
            Kind::Any | Kind::All | Kind::AtLeast => Way::Followed {
                of: "other checks",
                because: "it is what its members amount to, at once",
            },
        }
    }

    /// Exactly one. What a check of no kind lacks is noted.
    pub fn of(section: &Section, name: &str, place: Place, out: &mut Findings) -> Option<Self> {
        let given: Vec<(Kind, &Node)> = Self::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, section.node(kind.key())?)))
            .collect();
        let name = quoted(name);
        match given.as_slice() {
            [(kind, _)] => Some(*kind),
            [] => {
                // A misspelt or later kind is a fault already.
                if !section.refused_any() {
                    let title = format!("check {name} does not say what to ask");
                    let kinds = Self::ALL.map(|kind| format!("`{}`", kind.key()));
                    out.fault(Finding::at(place, title, "write what").help(format!(
                        "such as `{{ tcp: \"127.0.0.1:5432\" }}`; there are {}",
                        kinds.join(", ")
                    )));
                }
                None
            }
            [(first, at), (second, again), ..] => {
                let title = format!("check {name} is of two kinds");
                let (first, second) = (first.key(), second.key());
                out.fault(
                    Finding::at(again.place, title, format!("`{second}` asks one thing"))
                        .see(at.place, format!("and `{first}` another"))
                        .help("make two checks of it, and list both in the instance"),
                );
                None
            }
        }
    }

    /// Whether every option is one of this kind.
    pub fn fits(self, section: &Section, out: &mut Findings) -> bool {
        let mut fits = true;
        let mut refuse = |key: &str, why: &str, help: &str| {
            if let Some(node) = section.node(key) {
                let title = format!("`{key}` {why}");
                out.fault(Finding::at(node.place, title, "remove it").help(help));
                fits = false;
            }
        };
        match self.way() {
            Way::Run if self == Kind::Script => {}
            Way::Run if matches!(self, Kind::Tcp | Kind::Http) => refuse(
                "user",
                "is for scripts",
                "vipward itself makes the connection",
            ),
            Way::Run => refuse("user", "is for scripts", "vipward itself looks"),
            Way::Followed { of, because } => {
                for key in TIMES.into_iter().chain(["user"]) {
                    let why = format!("is not for a check of {of}");
                    refuse(key, &why, &format!("nothing is run for it: {because}"));
                }
            }
        }
        if self == Kind::File {
            let help =
                "its number is added to the priority, whatever it is; without one nothing is";
            for key in ["initial", "on_fail"] {
                refuse(key, "is for what passes or fails", help);
            }
        }
        for (key, kinds, because) in OPTIONS {
            if !kinds.contains(&self) {
                let names: Vec<String> = kinds.iter().map(|k| format!("`{}`", k.key())).collect();
                let why = format!("is for checks of the kind {}", names.join(" or "));
                refuse(key, &why, because);
            }
        }
        fits
    }
}
