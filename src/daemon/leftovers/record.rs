//! The picture as a file of the runtime directory, for the next run: replaced
//! as a whole before the addresses in it are added.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{BYTES_MAX, Leftovers};
use crate::daemon::whole_file;

const NAME: &str = "addresses.json";
/// Between two lines about a record that cannot be written.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Record {
    directory: PathBuf,
    complained: Option<Instant>,
    closed: bool,
}

impl Record {
    pub fn new(runtime_dir: &Path) -> Self {
        Self {
            directory: runtime_dir.to_owned(),
            complained: None,
            closed: false,
        }
    }

    /// Replaces the file. A failure is a line in the log, one a minute at
    /// most: the addresses bear our mark as well.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let Err(error) = self.replace(bytes) else {
            self.complained = None;
            return;
        };
        let lately = self.complained.is_some_and(|at| at.elapsed() < QUIET);
        if !lately {
            self.complained = Some(Instant::now());
            tracing::warn!(
                "the record of our addresses cannot be written: {}: {error}; should this agent \
                 be killed, the next one knows them by their mark alone",
                self.path().display()
            );
        }
    }

    /// Says that nothing is left; what is written later is not.
    pub fn close(&mut self) {
        if self.path().exists() {
            self.write(&Leftovers::nothing());
        }
        self.closed = true;
    }

    /// Says that nothing is left, where there is a file. A failure is one
    /// more of the `problems`.
    pub fn clear(&self, problems: &mut Vec<String>) {
        let path = self.path();
        if !path.exists() {
            return;
        }
        if let Err(error) = self.replace(&Leftovers::nothing()) {
            let path = path.display();
            problems.push(format!("the record {path} could not be emptied: {error}"));
        }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        // It need not outlive the kernel, whose addresses it tells of.
        whole_file::replace(&self.directory, NAME, bytes, false)
    }

    /// `None`: there is no record.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in a sentence.
    pub fn read(&self) -> Result<Option<Leftovers>, String> {
        let words = |why: String| format!("{} is no record: {why}", self.path().display());
        let Some(bytes) = whole_file::read(&self.path(), BYTES_MAX).map_err(words)? else {
            return Ok(None);
        };
        Leftovers::read(&bytes).map(Some).map_err(words)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::custody;
    use super::super::{FORMAT, Left};
    use super::*;

    fn picture() -> Leftovers {
        Leftovers {
            format: FORMAT,
            instances: vec![Left::from(custody("web", &["192.0.2.10/24"]))],
        }
    }

    #[test]
    fn it_is_replaced_as_a_whole_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = Record::new(directory.path());
        assert_eq!(record.read(), Ok(None));
        record.close();
        assert_eq!(record.read(), Ok(None));
        let mut record = Record::new(directory.path());
        let bytes = serde_json::to_vec(&picture()).unwrap();
        record.write(&bytes);
        assert_eq!(record.read(), Ok(Some(picture())));
        let mode = fs::metadata(record.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        record.close();
        record.write(&bytes);
        assert_eq!(record.read().unwrap().unwrap().instances, []);
        let names = fs::read_dir(directory.path()).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn what_is_no_record_is_said_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::new(directory.path());
        let whole = serde_json::to_vec(&picture()).unwrap();
        for torn in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(record.path(), &whole[..torn]).unwrap();
            let error = record.read().unwrap_err();
            assert!(error.contains("addresses.json is no record: "), "{error}");
        }
        fs::write(record.path(), vec![b' '; BYTES_MAX + 1]).unwrap();
        let error = record.read().unwrap_err();
        assert!(error.ends_with("more than 8388608 bytes"), "{error}");
        fs::remove_file(record.path()).unwrap();
        std::os::unix::fs::symlink("/dev/zero", record.path()).unwrap();
        assert!(record.read().is_err());
    }

    #[test]
    fn a_directory_that_is_not_there_costs_a_line_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = Record::new(&directory.path().join("missing"));
        record.write(b"x");
        let complained = record.complained;
        assert!(complained.is_some());
        record.write(b"x");
        assert_eq!(record.complained, complained);
        assert!(record.replace(b"x").is_err());
    }
}
