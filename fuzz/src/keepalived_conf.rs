//! The importer of keepalived.conf: read, translated, judged.

use std::path::{Path, PathBuf};

use vipward::config::import::{Host, import, list};
use vipward::config::{Faults, Loaded, parse};

/// A host with one file, and without scripts, users or programs.
struct OneFile<'t>(&'t str);

impl Host for OneFile<'_> {
    fn read(&self, _: &Path) -> Result<String, Faults> {
        Ok(self.0.to_owned())
    }

    /// Any name is that file: a loop, as it may be.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        vec![PathBuf::from(pattern)]
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        Path::new("/etc/keepalived").join(path)
    }

    fn name(&self) -> String {
        "host".to_owned()
    }

    fn has_user(&self, _: &str) -> bool {
        false
    }

    fn program(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn judge(&self, _: &Loaded) -> Result<(), Faults> {
        Ok(())
    }
}

/// Whatever the text: every byte accounted for, faults with places, and a
/// result that vipward takes.
pub fn keepalived_conf(data: &[u8]) {
    // The file reader has refused the rest.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match import(Path::new("fuzz.conf"), "host", &OneFile(text)) {
        Err(faults) => {
            assert!(faults.count() > 0);
            for fault in faults.iter() {
                assert!(!fault.to_string().is_empty());
            }
        }
        Ok(imported) => {
            // What no rule took is listed all the same.
            let entries = &imported.entries;
            let named = entries
                .iter()
                .any(|one| one.advice.contains("not understood"));
            assert!(imported.unseen == 0 || named, "{entries:?}");
            assert_eq!(
                list(&imported.entries).is_empty(),
                imported.entries.is_empty()
            );
            if let Some(yaml) = &imported.yaml {
                let loaded = parse(Path::new("fuzz.yaml"), yaml, "host");
                loaded.unwrap_or_else(|faults| panic!("{faults}\n{yaml}"));
            }
        }
    }
}
