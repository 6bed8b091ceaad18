//! A host in memory, and questions about what an import came to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use vipward::config::import::{Entry, Host, Imported, Kind, import};
use vipward::config::{self, Faults, Loaded};

pub struct Memory {
    pub files: BTreeMap<PathBuf, String>,
    pub users: BTreeSet<String>,
    /// What the host's judge would refuse to run.
    pub missing: BTreeSet<String>,
}

impl Memory {
    /// `text` as /etc/keepalived/keepalived.conf.
    pub fn new(text: &str) -> Self {
        Self {
            files: BTreeMap::from([(main_file(), text.to_owned())]),
            users: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    pub fn with(mut self, name: &str, text: &str) -> Self {
        let path = Path::new("/etc/keepalived").join(name);
        self.files.insert(path, text.to_owned());
        self
    }

    pub fn import_for(&self, config_id: &str) -> Result<Outcome, Faults> {
        let imported = import(&main_file(), config_id, self)?;
        Ok(Outcome::of(imported))
    }

    pub fn import(&self) -> Result<Outcome, Faults> {
        self.import_for("lb1")
    }
}

pub fn main_file() -> PathBuf {
    PathBuf::from("/etc/keepalived/keepalived.conf")
}

impl Host for Memory {
    fn read(&self, path: &Path) -> Result<String, Faults> {
        match self.files.get(path) {
            Some(text) => Ok(text.clone()),
            // The real reader's words.
            None => vipward::config::import::read_file(Path::new("/nowhere/keepalived.conf")),
        }
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern).expect("a pattern");
        let paths = self.files.keys();
        paths
            .filter(|path| pattern.matches_path(path))
            .cloned()
            .collect()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn name(&self) -> String {
        "lb1.example.net".to_owned()
    }

    fn has_user(&self, name: &str) -> bool {
        self.users.contains(name)
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        (name == "killall").then(|| PathBuf::from("/usr/bin/killall"))
    }

    fn judge(&self, loaded: &Loaded) -> Result<(), Faults> {
        config::inspect_scripts(loaded, &|script| {
            let program = script.command.first().expect("a program");
            match self.missing.contains(program) {
                true => Err(format!("{program} does not exist")),
                false => Ok(()),
            }
        })
    }
}

/// An import, and the settings that its result comes to.
#[derive(Debug)]
pub struct Outcome {
    pub imported: Imported,
    pub loaded: Option<Loaded>,
}

impl Outcome {
    /// Whatever was imported, these hold.
    fn of(imported: Imported) -> Self {
        assert_eq!(imported.unseen, 0, "{:?}", imported.entries);
        let loaded = imported.yaml.as_ref().map(|yaml| {
            let path = Path::new("config.yaml");
            config::parse(path, yaml, "lb1").unwrap_or_else(|faults| panic!("{faults}\n{yaml}"))
        });
        Self { imported, loaded }
    }

    pub fn loaded(&self) -> &Loaded {
        self.loaded.as_ref().expect("an instance was imported")
    }

    pub fn yaml(&self) -> &str {
        self.imported
            .yaml
            .as_deref()
            .expect("an instance was imported")
    }

    /// Without what stands above.
    pub fn body(&self) -> &str {
        let yaml = self.yaml();
        let start = yaml.find("\n\n").expect("a header");
        yaml.get(start + 2..).expect("a body")
    }

    /// The entries of that kind that name a line.
    pub fn at(&self, kind: Kind, line: usize) -> Vec<&Entry> {
        let entries = self.imported.entries.iter();
        entries
            .filter(|entry| entry.kind == kind)
            .filter(|entry| entry.lines.values().any(|lines| lines.contains(&line)))
            .collect()
    }

    /// That a line is listed as left, with this in its words or advice.
    #[track_caller]
    pub fn left(&self, line: usize, what: &str) {
        self.listed(Kind::Left, line, what);
    }

    #[track_caller]
    pub fn noted(&self, line: usize, what: &str) {
        self.listed(Kind::Noted, line, what);
    }

    #[track_caller]
    fn listed(&self, kind: Kind, line: usize, what: &str) {
        let found = self.at(kind, line);
        let said = |entry: &&&Entry| entry.advice.contains(what) || entry.words.contains(what);
        assert!(
            found.iter().find(said).is_some(),
            "line {line} is not {kind:?} as {what:?}, but: {:#?}",
            self.imported.entries
        );
    }

    pub fn is_whole(&self) -> bool {
        self.imported.left().next().is_none()
    }
}

/// An instance around `lines`, which begin on line 5.
pub fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n \
         virtual_ipaddress {{ 192.0.2.10/24 }}\n{lines}\n}}\n"
    )
}

#[track_caller]
pub fn imported(text: &str) -> Outcome {
    let outcome = Memory::new(text).import();
    outcome.unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults of a text, as one line each.
#[track_caller]
pub fn faults(memory: &Memory) -> Vec<String> {
    match memory.import() {
        Ok(outcome) => panic!("no fault: {outcome:?}"),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}
