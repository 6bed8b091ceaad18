//! Files that an agent leaves for the next one. Root may have run it by hand, in
//! a directory that the service's user owns: what is made there is then that
//! user's, or the service could not read it, nor even start.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::unistd::geteuid;

/// For reading and writing, for its owner's eyes only; made where it is
/// missing. Follows no link.
pub fn open_or_make(path: &Path) -> io::Result<File> {
    let opened = options().open(path);
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => match make(path) {
            // Another one was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => options().open(path),
            made => made,
        },
        opened => opened,
    }
}

/// One that is not there yet.
pub fn make(path: &Path) -> io::Result<File> {
    let file = options().create_new(true).open(path)?;
    // Nobody else can have put this file there: it is new. Without the right to
    // give it away it is of use all the same.
    if geteuid().is_root()
        && let Some(Ok(owner)) = path.parent().map(Path::metadata)
        && owner.uid() != 0
    {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_new_file_is_its_directory_s_owner_s() {
        if !geteuid().is_root() {
            // Nobody else can make a file that is another's.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        chown(directory.path(), Some(4_242), Some(4_243)).unwrap();
        let path = directory.path().join("file");
        open_or_make(&path).unwrap().write_all(b"x").unwrap();
        let made = path.metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (4_242, 4_243));
        assert_eq!(made.mode() & 0o777, 0o600);
        // What is there stays as it is, whoever owns it.
        chown(&path, Some(0), Some(0)).unwrap();
        let mut text = String::new();
        open_or_make(&path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!((text.as_str(), path.metadata().unwrap().uid()), ("x", 0));
        assert!(make(&path).is_err());
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (
            directory.path().join("link"),
            directory.path().join("target"),
        );
        symlink(&target, &link).unwrap();
        assert!(open_or_make(&link).is_err() && make(&link).is_err());
        assert!(!target.exists());
    }
}
