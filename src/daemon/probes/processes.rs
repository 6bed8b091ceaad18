//! Which processes run, by what the kernel calls them. Nothing is started for
//! it. One look at all of them serves every check for a while, so that looking
//! costs a tenth of one processor at most, however many there are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::blocking::Slots;
use super::outcome::{Doing, Trouble, quoted};
use super::small_file;
use crate::config::work::probe::ProcessProbe;

/// Looks at once. The others wait for it, and mostly find that it serves them.
pub(super) const LOOKS_AT_ONCE: usize = 1;
/// A look serves for ten times as long as it took, and at least and at most
/// for this long.
const SERVES: u32 = 10;
const SERVES_MIN: Duration = Duration::from_millis(100);
const SERVES_MAX: Duration = Duration::from_secs(10);
/// The kernel cuts the name of a process at so many bytes.
const COMM_BYTES: usize = 15;
/// The first word of a command line that is looked at.
const WORD_BYTES_MAX: usize = 4096;

pub(super) struct Processes {
    slots: Slots,
    proc: Proc,
    last: Arc<Mutex<Option<Look>>>,
}

impl Processes {
    pub fn new() -> Self {
        Self {
            slots: Slots::new(LOOKS_AT_ONCE),
            proc: Proc("/proc".into()),
            last: Arc::default(),
        }
    }

    /// In words how many there are.
    pub async fn probe(&self, probe: &ProcessProbe, doing: &Doing) -> Result<String, Trouble> {
        doing.now("while looking at the processes of this host".to_owned());
        let (proc, last, probe) = (self.proc.clone(), Arc::clone(&self.last), probe.clone());
        let look = move || match &probe.pid_file {
            Some(pid_file) => proc.named_by(pid_file, probe.name.as_deref()),
            None => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let look = match last.take() {
                    Some(look) if look.serves() => look,
                    Some(_) | None => proc.look()?,
                };
                let found = proc.count(last.insert(look), &probe);
                proc.judge(found, &probe)
            }
        };
        self.slots.run(look).await?
    }
}

/// All processes by their names, as they were a moment ago.
struct Look {
    ended: Instant,
    took: Duration,
    pids: HashMap<Vec<u8>, Vec<u32>>,
}

impl Look {
    fn serves(&self) -> bool {
        let serves = (self.took * SERVES).clamp(SERVES_MIN, SERVES_MAX);
        self.ended.elapsed() < serves
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    running: u32,
    /// Ended, and their parents did not ask how.
    ended: u32,
}

/// The kernel's file system of processes.
#[derive(Clone)]
struct Proc(PathBuf);

impl Proc {
    fn look(&self) -> Result<Look, Trouble> {
        let began = Instant::now();
        let unreadable = |error| Trouble::NotRun(format!("/proc cannot be read: {error}"));
        let mut pids: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir(&self.0).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // One that ended meanwhile is none.
            if let Some(comm) = self.comm(pid) {
                pids.entry(comm).or_default().push(pid);
            }
        }
        Ok(Look {
            ended: Instant::now(),
            took: began.elapsed(),
            pids,
        })
    }

    fn comm(&self, pid: u32) -> Option<Vec<u8>> {
        let mut comm = fs::read(self.0.join(pid.to_string()).join("comm")).ok()?;
        if comm.last() == Some(&b'\n') {
            comm.pop();
        }
        Some(comm)
    }

    /// Those of the name that run now.
    fn count(&self, look: &Look, probe: &ProcessProbe) -> Found {
        let mut found = Found::default();
        let name = probe.name.as_deref().unwrap_or_default();
        let pids = look.pids.get(cut(name)).into_iter().flatten();
        for pid in pids {
            match self.state(*pid) {
                Some(b'Z' | b'X') => found.ended += 1,
                Some(_) if self.is_named(*pid, name) => found.running += 1,
                Some(_) | None => {}
            }
        }
        found
    }

    /// The letter of proc_pid_stat(5). The name before it may hold anything.
    fn state(&self, pid: u32) -> Option<u8> {
        let stat = fs::read(self.0.join(pid.to_string()).join("stat")).ok()?;
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        stat.get(end + 2).copied()
    }

    /// Where the kernel's name is cut, its command line must have the whole.
    fn is_named(&self, pid: u32, name: &str) -> bool {
        if self.comm(pid).as_deref() != Some(cut(name)) {
            return false;
        }
        if name.len() <= COMM_BYTES {
            return true;
        }
        let line = fs::read(self.0.join(pid.to_string()).join("cmdline"));
        let line = line.unwrap_or_default();
        let word = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let word = word.get(..WORD_BYTES_MAX).unwrap_or(word);
        word.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
    }

    fn judge(&self, found: Found, probe: &ProcessProbe) -> Result<String, Trouble> {
        let name = quoted(probe.name.as_deref().unwrap_or_default());
        let what = match found.running {
            0 => format!("no process is named {name}"),
            1 => format!("1 process is named {name}"),
            count => format!("{count} processes are named {name}"),
        };
        let ended = match found.ended {
            0 => String::new(),
            count => format!("; {count} more ended, which their parents have not noticed"),
        };
        if found.running < probe.min {
            if !self.0.join("1").exists() {
                return Err(Trouble::NotRun(
                    "/proc is mounted with hidepid and shows this user's processes only".to_owned(),
                ));
            }
            let wanted = match probe.min {
                1 => String::new(),
                min => format!(", and at least {min} must be"),
            };
            return Err(Trouble::Failed(format!("{what}{wanted}{ended}")));
        }
        match probe.max {
            Some(0) if found.running > 0 => {
                Err(Trouble::Failed(format!("{what}, and none may be")))
            }
            Some(max) if found.running > max => {
                Err(Trouble::Failed(format!("{what}, and at most {max} may be")))
            }
            Some(_) | None => Ok(what),
        }
    }

    /// The process whose number is in `file`, which runs and has that name.
    fn named_by(&self, file: &Path, name: Option<&str>) -> Result<String, Trouble> {
        let number = small_file::number(file);
        let number = number.map_err(|unread| Trouble::Failed(unread.words(file)))?;
        let shown = file.display();
        let pid = u32::try_from(number).ok().filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| {
            Trouble::Failed(format!("{shown} holds {number}, which is no process"))
        })?;
        let failed = |what: &str| Trouble::Failed(format!("process {pid}, of {shown}, {what}"));
        match self.state(pid) {
            None => return Err(failed("does not run")),
            Some(b'Z' | b'X') => return Err(failed("has ended, which its parent has not noticed")),
            Some(_) => {}
        }
        let Some(name) = name else {
            return Ok(format!("process {pid} runs"));
        };
        if self.is_named(pid, name) {
            return Ok(format!("process {pid} is {}", quoted(name)));
        }
        let comm = self.comm(pid).unwrap_or_default();
        let comm = quoted(&String::from_utf8_lossy(&comm));
        Err(failed(&format!("is {comm}, not {}", quoted(name))))
    }
}

/// As the kernel cuts it.
fn cut(name: &str) -> &[u8] {
    let bytes = name.as_bytes();
    bytes.get(..COMM_BYTES).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A /proc with these processes: number, name, state, command line.
    fn proc(processes: &[(u32, &str, char, &str)]) -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().expect("a directory");
        for (pid, comm, state, line) in processes {
            let folder = root.path().join(pid.to_string());
            fs::create_dir(&folder).expect("a folder");
            let put = |file: &str, text: String| fs::write(folder.join(file), text).expect("it");
            put("comm", format!("{comm}\n"));
            put("stat", format!("{pid} ({comm}) {state} 1 1 1 0"));
            put("cmdline", line.replace(' ', "\0"));
        }
        fs::write(root.path().join("uptime"), "1 1").expect("it");
        let proc = Proc(root.path().to_owned());
        (root, proc)
    }

    fn probe(name: &str, min: u32, max: Option<u32>) -> ProcessProbe {
        ProcessProbe {
            name: Some(name.to_owned()),
            pid_file: None,
            min,
            max,
        }
    }

    fn told(proc: &Proc, probe: &ProcessProbe) -> Result<String, Trouble> {
        let look = proc.look()?;
        proc.judge(proc.count(&look, probe), probe)
    }

    #[test]
    fn those_that_run_are_counted_by_their_whole_name() {
        let (_root, proc) = proc(&[
            (1, "init", 'S', "/sbin/init"),
            (7, "web", 'S', "/bin/web -x"),
            (8, "web", 'R', "/bin/web"),
            (9, "web", 'Z', ""),
            (10, "a) R (b", 'Z', ""),
            (11, "a-very-long-nam", 'S', "/opt/a-very-long-name --f"),
            (12, "a-very-long-nam", 'S', "/opt/a-very-long-namesake"),
        ]);
        let failed = |text: &str| Err(Trouble::Failed(text.to_owned()));
        let two = Ok("2 processes are named `web`".to_owned());
        assert_eq!(told(&proc, &probe("web", 1, None)), two);
        assert_eq!(told(&proc, &probe("web", 2, Some(2))), two);
        assert_eq!(
            told(&proc, &probe("web", 3, None)),
            failed(
                "2 processes are named `web`, and at least 3 must be; 1 more ended, which their \
                 parents have not noticed"
            )
        );
        assert_eq!(
            told(&proc, &probe("web", 0, Some(1))),
            failed("2 processes are named `web`, and at most 1 may be")
        );
        assert_eq!(
            told(&proc, &probe("web", 0, Some(0))),
            failed("2 processes are named `web`, and none may be")
        );
        assert_eq!(
            told(&proc, &probe("db", 1, None)),
            failed("no process is named `db`")
        );
        assert!(told(&proc, &probe("a) R (b", 1, None)).is_err(), "it ended");
        assert_eq!(
            told(&proc, &probe("a-very-long-name", 1, Some(1))),
            Ok("1 process is named `a-very-long-name`".to_owned())
        );
    }

    #[test]
    fn where_only_own_processes_show_nothing_is_concluded() {
        let (_root, proc) = proc(&[(7, "web", 'S', "/bin/web")]);
        let told = told(&proc, &probe("db", 1, None));
        assert!(matches!(told, Err(Trouble::NotRun(_))), "{told:?}");
    }

    #[test]
    fn a_pid_file_names_one_that_runs() {
        let (root, proc) = proc(&[(7, "web", 'S', "/bin/web"), (9, "web", 'Z', "")]);
        let file = root.path().join("pid");
        let told = |text: &str, name: Option<&str>| {
            fs::write(&file, text).expect("written");
            proc.named_by(&file, name)
        };
        let failed = |text: &str| {
            let text = text.replace('F', &file.display().to_string());
            Err(Trouble::Failed(text))
        };
        assert_eq!(told("7\n", None), Ok("process 7 runs".to_owned()));
        assert_eq!(
            told("7\n", Some("web")),
            Ok("process 7 is `web`".to_owned())
        );
        assert_eq!(
            told("7\n", Some("db")),
            failed("process 7, of F, is `web`, not `db`")
        );
        assert_eq!(
            told("9\n", None),
            failed("process 9, of F, has ended, which its parent has not noticed")
        );
        assert_eq!(told("8\n", None), failed("process 8, of F, does not run"));
        for text in ["0", "-7", "99999999999"] {
            let text_told = told(text, None);
            assert_eq!(
                text_told,
                failed(&format!("F holds {text}, which is no process"))
            );
        }
        assert_eq!(told("", None), failed("F is empty"));
    }
}
