//! `include`: the file and those that it draws in, as one tree. Each value
//! keeps the place where it is written, so every fault is told in its own
//! file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::environment::Filler;
use super::fault::{Finding, Findings, Place, SourceId, Sources, quoted};
use super::file::{self, BYTES_MAX, Contents, Refusal, RefusalKind};
use super::read;
use super::yaml::{self, Node, Value};

/// With the first one; enough for a thousand instances in files of their own.
const FILES_MAX: usize = 2000;
/// Files that draw in files, the first one not counted.
const DEPTH_MAX: usize = 8;
/// Names in directories that patterns are compared with.
const NAMES_MAX: usize = 100_000;

/// The tree, and what it was made of.
pub(super) struct Gathered {
    /// A section of keys.
    pub root: Node,
    /// As [`Filler::places`].
    pub unknown: BTreeSet<Place>,
    /// Those that were drawn in, in the order in which they were read.
    pub included: Vec<PathBuf>,
}

/// Reads what the first file asks for, within bounds.
pub(super) struct Gatherer<'a> {
    sources: &'a mut Sources,
    filler: Filler<'a>,
    /// Without, no other file is looked at.
    reads_files: bool,
    files: Vec<File>,
    bytes: u64,
    /// Paths and patterns that were written, and names they were compared with.
    asked: usize,
    names: usize,
}

/// A file that was read, or is being read.
struct File {
    path: PathBuf,
    identity: (u64, u64),
    /// Where it is asked for; nowhere for the first.
    place: Option<Place>,
    under_way: bool,
}

type Entries = Vec<(Node, Node)>;

impl<'a> Gatherer<'a> {
    pub fn new(sources: &'a mut Sources, filler: Filler<'a>, reads_files: bool) -> Self {
        Self {
            sources,
            filler,
            reads_files,
            files: Vec::new(),
            bytes: 0,
            asked: 0,
            names: 0,
        }
    }

    /// Nothing only when a fault was noted.
    pub fn gather(
        mut self,
        path: &Path,
        contents: &Contents,
        out: &mut Findings,
    ) -> Option<Gathered> {
        let source = self.sources.add(path, &contents.text);
        let mut root = out.keep(tree(source, &contents.text))?;
        let entries = match root.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                out.fault(no_section(&root));
                return None;
            }
        };
        self.files.push(File {
            path: path.to_owned(),
            identity: contents.identity,
            place: None,
            under_way: true,
        });
        self.bytes = length(&contents.text);
        let mut merged = Merged::default();
        self.absorb(0, 0, entries, &mut merged, out);
        root.value = Value::Map(merged.entries);
        let included = self.files.into_iter().skip(1);
        Some(Gathered {
            root,
            unknown: self.filler.places,
            included: included.map(|file| file.path).collect(),
        })
    }

    /// Adds what the file `index` holds, then what the files hold that it asks
    /// for. Recursion is bounded by [`DEPTH_MAX`].
    fn absorb(
        &mut self,
        index: usize,
        depth: usize,
        mut entries: Entries,
        merged: &mut Merged,
        out: &mut Findings,
    ) {
        for (_, value) in &mut entries {
            self.filler.fill(value, out);
        }
        let is_include = |(key, _): &(Node, Node)| key_of(key) == Some("include");
        let first = entries.iter().position(is_include);
        // Further ones stay, to be told as keys that are written twice.
        let once = entries.iter().filter(|entry| is_include(entry)).count() == 1;
        let include = first.map(|at| match once {
            true => entries.remove(at).1,
            false => entries[at].1.clone(),
        });
        merged.add(entries, out);
        let requests = include.map(|include| self.requests(index, &include, out));
        for (path, place) in requests.unwrap_or_default() {
            self.include(&path, place, depth + 1, merged, out);
        }
        self.done(index);
    }

    fn done(&mut self, index: usize) {
        if let Some(file) = self.files.get_mut(index) {
            file.under_way = false;
        }
    }

    /// The paths that `include` comes to, and where each is asked for.
    fn requests(
        &mut self,
        index: usize,
        include: &Node,
        out: &mut Findings,
    ) -> Vec<(PathBuf, Place)> {
        let items = match &include.value {
            Value::List(items) => items.as_slice(),
            Value::Null | Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(include),
        };
        let base = self.files.get(index).and_then(|file| file.path.parent());
        let base = base.unwrap_or(Path::new("")).to_owned();
        let mut requests = Vec::new();
        for item in items {
            let place = item.place;
            let Some(written) = out.keep(written_path(item)) else {
                continue;
            };
            if !self.reads_files {
                let title = "no other file is read here";
                out.fault(Finding::at(place, title, "remove it"));
                break;
            }
            self.asked += 1;
            if self.asked > FILES_MAX {
                out.fault(too_many(place));
                break;
            }
            let paths = match written.contains(['*', '?', '[']) {
                false => Ok(vec![base.join(written)]),
                true => self.matching(&base, written, place),
            };
            let paths = out.keep(paths).unwrap_or_default();
            requests.extend(paths.into_iter().map(|path| (path, place)));
        }
        requests
    }

    /// Files that a pattern matches, sorted by their names; those whose names
    /// begin with a dot only where the pattern does.
    fn matching(&mut self, base: &Path, written: &str, place: Place) -> read::Read<Vec<PathBuf>> {
        let (folder, name) = match written.rsplit_once('/') {
            Some((folder, name)) => (base.join(format!("{folder}/")), name),
            None => (base.to_owned(), written),
        };
        let above = written.strip_suffix(name).unwrap_or("");
        if above.contains(['*', '?', '[']) {
            let title = format!("{} is a pattern for directories", quoted(written));
            return Err(
                Finding::at(place, title, "write one path for each directory")
                    .help("`*`, `?` and `[...]` are for the names of files, after the last `/`"),
            );
        }
        let pattern = Pattern::new(name).map_err(|error| {
            let title = format!("{} is no pattern: {}", quoted(written), error.msg);
            Finding::at(place, title, "write one such as `conf.d/*.yaml`")
        })?;
        let options = MatchOptions {
            require_literal_leading_dot: true,
            ..MatchOptions::new()
        };
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &folder,
        };
        let unlisted = |error: std::io::Error| {
            let title = format!("cannot look into {}: {error}", folder.display());
            Finding::at(place, title, "asked for here").help(
                "whoever reads the configuration, the agent and its runner, must be able to list it",
            )
        };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unlisted(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            self.names += 1;
            if self.names > NAMES_MAX {
                let title = format!("{} holds too many files to choose from", folder.display());
                return Err(Finding::at(place, title, "asked for here")
                    .help("at most 100,000 names are compared with patterns"));
            }
            let name = entry.map_err(unlisted)?.file_name();
            if pattern.matches_with(&name.to_string_lossy(), options) {
                paths.push(name);
            }
        }
        paths.sort();
        let base = folder.strip_prefix("./").unwrap_or(folder);
        let base = if base == Path::new(".") {
            Path::new("")
        } else {
            base
        };
        Ok(paths.into_iter().map(|name| base.join(name)).collect())
    }

    /// Adds what the file `path` holds.
    fn include(
        &mut self,
        path: &Path,
        place: Place,
        depth: usize,
        merged: &mut Merged,
        out: &mut Findings,
    ) {
        let shown = quoted(&path.display().to_string());
        if self.files.len() >= FILES_MAX {
            // Once is enough.
            if self.asked <= FILES_MAX {
                self.asked = FILES_MAX + 1;
                out.fault(too_many(place));
            }
            return;
        }
        let contents = match file::read(path) {
            Ok(contents) => contents,
            Err(refusal) => return out.fault(unread(&shown, refusal, place)),
        };
        let same = |file: &&File| file.identity == contents.identity;
        if let Some(earlier) = self.files.iter().find(same) {
            return out.fault(self.again(earlier, &shown, place));
        }
        if depth > DEPTH_MAX {
            let title = format!("{shown} is included by too many files, one within the other");
            let label = format!("{DEPTH_MAX} are the most");
            return out.fault(
                Finding::at(place, title, label).help("include it by one of the files further up"),
            );
        }
        self.bytes = self.bytes.saturating_add(length(&contents.text));
        if self.bytes > BYTES_MAX {
            let title = format!("with {shown} the files have {} bytes together", self.bytes);
            let label = format!("{BYTES_MAX} are the most");
            return out.fault(Finding::at(place, title, label));
        }
        let source = self.sources.add(path, &contents.text);
        if contents.open_to_all {
            out.warn(open_to_all(path).placed(place));
        }
        self.files.push(File {
            path: path.to_owned(),
            identity: contents.identity,
            place: Some(place),
            under_way: true,
        });
        let index = self.files.len() - 1;
        match included(source, &contents.text, place) {
            Ok(entries) => self.absorb(index, depth, entries, merged, out),
            Err(fault) => {
                out.fault(fault);
                self.done(index);
            }
        }
    }

    /// A file that was read before, or includes itself, by others or not.
    fn again(&self, earlier: &File, shown: &str, place: Place) -> Finding {
        if !earlier.under_way {
            let fault = Finding::at(place, format!("{shown} is included twice"), "again here");
            let fault = match earlier.place {
                Some(first) => fault.see(first, "first here"),
                None => fault,
            };
            return fault.help("remove one of the two: all files are one configuration");
        }
        let itself = earlier.path == Path::new(self.sources.path(place.source));
        let title = match itself {
            true => format!("{shown} includes itself"),
            false => format!("{shown} is included by a file that it includes"),
        };
        let mut fault = Finding::at(place, title, "the loop closes here");
        let within = self.files.iter().filter(|file| file.under_way);
        let within = within.skip_while(|file| !std::ptr::eq(*file, earlier));
        for file in within.skip(1) {
            if let Some(place) = file.place {
                let label = format!(
                    "{} is included here",
                    quoted(&file.path.display().to_string())
                );
                fault = fault.see(place, label);
            }
        }
        fault.help(
            "remove one of them; with a pattern, put what it matches into a directory of its own, \
             such as `conf.d/*.yaml`",
        )
    }
}

/// Sections of the top level by key.
#[derive(Default)]
struct Merged {
    entries: Entries,
    first: BTreeMap<String, usize>,
}

impl Merged {
    /// Those of one file. A section that an earlier file has too goes on in
    /// this one; what is no section is left to be told as written twice.
    fn add(&mut self, entries: Entries, out: &mut Findings) {
        let mut seen = BTreeSet::new();
        for (key, value) in entries {
            let Some(name) = key_of(&key).map(str::to_owned) else {
                self.entries.push((key, value));
                continue;
            };
            let repeated = !seen.insert(name.clone());
            let earlier = self.first.get(&name).filter(|_| !repeated).copied();
            let Some((earlier_key, earlier)) = earlier.and_then(|at| self.entries.get_mut(at))
            else {
                self.first.entry(name).or_insert(self.entries.len());
                self.entries.push((key, value));
                continue;
            };
            match (&mut earlier.value, value.value) {
                (Value::Map(earlier), Value::Map(more)) => earlier.extend(more),
                (Value::Map(_) | Value::Null, Value::Null) => out.fault(no_value(&key)),
                (Value::Null, more @ Value::Map(_)) => {
                    earlier.value = more;
                    out.fault(no_value(earlier_key));
                }
                (_, again) => {
                    let value = Node {
                        value: again,
                        ..value
                    };
                    self.entries.push((key, value));
                }
            }
        }
    }
}

fn no_value(key: &Node) -> Finding {
    let title = format!("{} has no value", quoted(key_of(key).unwrap_or("")));
    Finding::at(key.place, title, "write a value, or remove the line")
}

fn key_of(key: &Node) -> Option<&str> {
    match &key.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn written_path(node: &Node) -> read::Read<&str> {
    let path = read::word(node, "the path of a file")?;
    match path.is_empty() || path.ends_with('/') {
        false => Ok(path),
        true => {
            let title = format!("{} is no path of a file", quoted(path));
            Err(Finding::at(
                node.place,
                title,
                "write one such as `conf.d/*.yaml`",
            ))
        }
    }
}

fn too_many(place: Place) -> Finding {
    let title = "too many files in one configuration";
    Finding::at(place, title, format!("{FILES_MAX} are the most"))
        .help("put the sections of several files into one")
}

fn unread(shown: &str, refusal: Refusal, place: Place) -> Finding {
    let title = format!("cannot include {shown}: {}", refusal.what);
    let help = match refusal.kind {
        RefusalKind::Missing => {
            "a path begins in the directory of the file that includes it; a pattern such as \
             `conf.d/*.yaml` may match nothing"
                .to_owned()
        }
        RefusalKind::Directory => "write `*.yaml` after it for the files in it".to_owned(),
        RefusalKind::Other => refusal.help,
    };
    Finding::at(place, title, "asked for here").help(help)
}

/// Who can write to the configuration can have the runner start anything.
pub(super) fn open_to_all(path: &Path) -> Finding {
    let shown = path.display().to_string();
    Finding::of_file(format!("{} can be written by everybody", quoted(&shown))).help(format!(
        "whoever writes to it decides what runs as root, by `user: root`: {}",
        quoted(&format!("chmod o-w {shown}"))
    ))
}

/// The tree of one file.
fn tree(source: SourceId, text: &str) -> read::Read<Node> {
    match yaml::read(source, text) {
        Ok(root) if matches!(root.value, Value::Map(_)) || !is_keepalived(text) => Ok(root),
        Ok(_) | Err(_) if is_keepalived(text) => {
            let title = "this is a keepalived.conf, not YAML";
            Err(Finding::of_file(title).help("`vipward import FILE` translates it"))
        }
        read => read,
    }
}

/// What an included file holds; `place` asks for it.
fn included(source: SourceId, text: &str, place: Place) -> read::Read<Entries> {
    let start = Place {
        source,
        start: 0,
        end: 0,
    };
    let root =
        tree(source, text).map_err(|fault| fault.placed(start).see(place, "included here"))?;
    match root.value {
        Value::Map(entries) => Ok(entries),
        // Comments: somebody has emptied it on purpose.
        Value::Null if !text.trim().is_empty() => Ok(Vec::new()),
        Value::Null => Err(Finding::at(start, "the file is empty", "nothing is here")
            .see(place, "included here")
            .help("remove it, or leave a comment if it is to be empty")),
        Value::Scalar(_) | Value::List(_) => Err(no_section(&root).see(place, "included here")),
    }
}

/// The file that people migrate from.
fn is_keepalived(text: &str) -> bool {
    let begins = ["vrrp_instance ", "vrrp_sync_group ", "global_defs"];
    text.lines()
        .any(|line| begins.iter().any(|begin| line.starts_with(begin)) && line.contains('{'))
}

/// Of a file that is none.
fn no_section(root: &Node) -> Finding {
    match &root.value {
        Value::Null => Finding::of_file("the file is empty")
            .help("write at least one instance; config.example.yaml is a start"),
        other @ (Value::Scalar(_) | Value::List(_) | Value::Map(_)) => {
            let title = format!(
                "a configuration is a section of keys, and this is {}",
                other.kind()
            );
            Finding::at(root.place, title, "write `instances:` here")
                .help("is this the right file? config.example.yaml shows what one looks like")
        }
    }
}
