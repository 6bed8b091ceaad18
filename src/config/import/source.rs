//! The files: read through the host, bounded, found by patterns.

use std::path::{Path, PathBuf};

use crate::config::Loaded;
use crate::config::diagnostic::Faults;
use crate::config::file::{self, Wanted};

/// Files of one run, those included several times counted as often.
pub(super) const FILES_MAX: usize = 256;
/// Bytes of all files together.
pub(super) const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Patterns that one `include` stands for.
const ALTERNATIVES_MAX: usize = 256;

const KEEPALIVED: Wanted = Wanted {
    called: "keepalived.conf",
    missing: "check the path; Debian's package has it in /etc/keepalived/keepalived.conf",
};

/// What the import asks of the machine.
pub trait Host {
    /// The text of a file.
    fn read(&self, path: &Path) -> Result<String, Faults>;
    /// Files that match a pattern of the shell, sorted; `*`, `?` and `[...]`
    /// only.
    fn matching(&self, pattern: &str) -> Vec<PathBuf>;
    /// From / on.
    fn absolute(&self, path: &Path) -> PathBuf;
    /// The host's name.
    fn name(&self) -> String;
    fn has_user(&self, name: &str) -> bool;
    /// Where a program that is named without a path would be found.
    fn program(&self, name: &str) -> Option<PathBuf>;
    /// What would be refused when it is used: scripts and key files.
    fn judge(&self, loaded: &Loaded) -> Result<(), Faults>;
    /// Puts a key that stands in keepalived's file into a file of its own, named
    /// so; nothing where that is not asked for. The error says why it could not.
    fn keep_key(&self, _name: &str, _key: &str) -> Result<Option<PathBuf>, String> {
        Ok(None)
    }
}

/// [`Host::read`] of a real one: a regular file of at most 4 MiB, UTF-8.
///
/// # Errors
///
/// One fault that names the file and says what is wrong with it.
pub fn read_file(path: &Path) -> Result<String, Faults> {
    file::read_as(path, &KEEPALIVED)
        .map(|contents| contents.text)
        .map_err(|refusal| Faults::of_file(path, refusal.what, &refusal.help))
}

/// `a{b,c}d` as `abd` and `acd`, nested ones too. What has no comma or no end
/// stands for itself.
pub(super) fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(text) = open.pop() {
        if done.len() + open.len() >= ALTERNATIVES_MAX {
            break;
        }
        match innermost(&text) {
            None => done.push(text),
            Some((start, end)) => {
                let (before, rest) = text.split_at(start);
                let (inner, after) = rest.split_at(end - start);
                let inner = inner.strip_prefix('{').unwrap_or(inner);
                let after = after.strip_prefix('}').unwrap_or(after);
                let parts = inner.rsplit(',');
                open.extend(parts.map(|part| format!("{before}{part}{after}")));
            }
        }
    }
    done
}

/// The bytes of the first pair of braces that has no other in it, `{` to `}`.
fn innermost(text: &str) -> Option<(usize, usize)> {
    let end = text.find('}')?;
    let start = text.get(..end)?.rfind('{')?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_alternatives() {
        assert_eq!(alternatives("a*.conf"), ["a*.conf"]);
        assert_eq!(alternatives("a{b,c}d"), ["abd", "acd"]);
        assert_eq!(alternatives("{x{,y},z}").len(), 4);
        assert_eq!(alternatives("{x"), ["{x"]);
        assert!(alternatives(&"{a,b}".repeat(40)).len() <= ALTERNATIVES_MAX);
    }
}
