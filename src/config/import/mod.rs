//! keepalived.conf to YAML.
//!
//! Files become lines (`lines`), lines are expanded (`expand`, `replace`,
//! `sequence`) and taken apart (`words`), words become blocks (`tree`), blocks
//! become YAML that knows where it comes from (`globals`, `instance`, `groups`,
//! `health` and others; `node`). What vipward's own judge then refuses is left
//! out (`settle`). Every byte that was read is accounted for (`ledger`): carried
//! over, named in the list (`report`), or without meaning.

use std::path::Path;

mod addresses;
mod auth;
mod desk;
mod expand;
mod globals;
mod groups;
mod health;
mod hooks;
mod instance;
mod ledger;
mod lines;
mod names;
mod node;
mod replace;
mod report;
mod routes;
mod script;
mod sequence;
mod settle;
mod source;
mod tables;
mod text;
mod translate;
mod tree;
mod unicast;
mod words;
mod write;

pub use report::{Entry, Kind, Lines};
pub use source::{Host, read_file};
pub use write::list;

use super::diagnostic::Faults;
use expand::Expansion;

/// What a keepalived.conf came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A configuration without a fault; nothing where no instance could be
    /// carried over.
    pub yaml: Option<String>,
    /// What is to be done by hand, then what differs.
    pub entries: Vec<Entry>,
    /// How many bytes of the files nobody thought of; they are in `entries`.
    pub unseen: usize,
}

impl Imported {
    /// Whether something is to be done by hand.
    pub fn left(&self) -> impl Iterator<Item = &Entry> {
        let left = |entry: &&Entry| entry.kind == Kind::Left;
        self.entries.iter().filter(left)
    }
}

/// Translates a file and those that it includes. `config_id` is what keepalived
/// is started with as `--config-id`; lines for others are left out. Reads files
/// and keeps keys through `host` only, and is bounded in time and memory.
///
/// # Errors
///
/// A file cannot be read or understood: each fault with its place.
pub fn import(path: &Path, config_id: &str, host: &dyn Host) -> Result<Imported, Faults> {
    let mut expansion = Expansion::new(host, config_id.to_owned());
    let rows = expansion.run(path)?;
    let Expansion {
        sources,
        ledger,
        report,
        findings,
        ..
    } = expansion;
    findings.into_result(path, &sources)?;
    let mut desk = desk::Desk {
        host,
        sources,
        ledger,
        report,
    };
    let (mut nodes, defaults) = translate::translate(&mut desk, &rows);
    let sound = settle::settle(&mut desk, &mut nodes)?;
    settle::account(&mut desk, &nodes, sound.is_some());
    for place in defaults {
        if desk.ledger.is_unseen(place) {
            desk.note_at(&[place], "a default that no instance takes");
        }
    }
    let unseen = unseen(&mut desk);
    let entries = desk.report.finish();
    let yaml = sound.map(|body| write::header(path, &entries) + &body);
    Ok(Imported {
        yaml,
        entries,
        unseen,
    })
}

/// Nothing should be left by now; what is, is named all the same.
fn unseen(desk: &mut desk::Desk) -> usize {
    let count = desk.ledger.count(ledger::Fate::Unseen);
    for place in desk.ledger.unseen(&desk.sources) {
        desk.left_at(&[place], "not understood: look at it");
    }
    count
}
