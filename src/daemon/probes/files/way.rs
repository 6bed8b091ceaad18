//! The way to a file: the directories in which a change can make its path lead
//! elsewhere, symbolic links followed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Symbolic links that are followed, as many as the kernel would.
const LINKS_MAX: usize = 40;
/// Directories of one file that are watched; those nearest to the root first.
const STEPS_MAX: usize = 128;

/// Each directory on the way, with the name that counts in it. Those that do
/// not exist are among them.
pub(super) fn steps(path: &Path) -> BTreeSet<(PathBuf, OsString)> {
    let mut steps = BTreeSet::new();
    let mut links = 0;
    let mut ways = vec![path.to_owned()];
    while let Some(way) = ways.pop() {
        let mut at = PathBuf::new();
        let mut components = way.components();
        while let Some(component) = components.next() {
            match component {
                Component::Normal(name) => {
                    if steps.len() >= STEPS_MAX || !steps.insert((at.clone(), name.to_owned())) {
                        at.push(name);
                        continue;
                    }
                    let here = at.join(name);
                    if links < LINKS_MAX
                        && let Ok(target) = std::fs::read_link(&here)
                    {
                        links += 1;
                        ways.push(at.join(target).join(components.as_path()));
                    }
                    at = here;
                }
                other => at.push(other),
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn shown(path: &Path, root: &Path) -> Vec<String> {
        let steps = steps(path).into_iter();
        let below = steps.filter(|(directory, _)| directory.starts_with(root));
        let words = below.map(|(directory, name)| {
            let directory = directory.strip_prefix(root).expect("below");
            format!("{}/{}", directory.display(), name.display())
        });
        words.collect()
    }

    #[test]
    fn every_directory_is_a_step_and_links_lead_to_more() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path().canonicalize().expect("its path");
        assert_eq!(shown(&root.join("a/b/c"), &root), ["/a", "a/b", "a/b/c"]);
        std::fs::create_dir(root.join("real")).expect("made");
        symlink("real", root.join("link")).expect("made");
        symlink("../far", root.join("real/file")).expect("made");
        let steps = shown(&root.join("link/file"), &root);
        for step in ["/link", "/real", "link/file", "real/file", "real/../far"] {
            assert!(steps.contains(&step.to_owned()), "{step}: {steps:?}");
        }
    }

    #[test]
    fn a_circle_of_links_ends() {
        let root = tempfile::tempdir().expect("a directory");
        symlink("b", root.path().join("a")).expect("made");
        symlink("a", root.path().join("b")).expect("made");
        assert!(steps(&root.path().join("a/x")).len() <= STEPS_MAX);
        symlink("grow/grow", root.path().join("grow")).expect("made");
        assert!(steps(&root.path().join("grow")).len() <= STEPS_MAX);
    }
}
