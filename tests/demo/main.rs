//! `vipward demo` as a newcomer runs it: to its end, interrupted, killed, and
//! without root's rights.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

const BINARY: &str = env!("CARGO_BIN_EXE_vipward");

/// Anybody's: the user `nobody` of most systems.
const NOBODY: u32 = 65_534;

type Test = fn() -> Completion;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Side by side they would measure each other.
    arguments.test_threads.get_or_insert(1);
    let tests: [(&str, Test); 4] = [
        ("the_address_moves_and_comes_back", moves_and_comes_back),
        ("ctrl_c_leaves_nothing_behind", ctrl_c),
        ("agents_die_with_a_killed_demo", killed),
        ("no_root_is_needed", no_root),
    ];
    let trials = tests.map(|(name, body)| {
        Trial::ignorable_test(name, move || -> Result<Completion, Failed> { Ok(body()) })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// A demo under way; what it left behind is removed with it.
struct Demo {
    process: Child,
    directory: tempfile::TempDir,
}

impl Demo {
    /// With a directory for temporary files of its own.
    fn start(command: &mut Command) -> Self {
        let directory = tempfile::Builder::new().prefix("d").tempdir().unwrap();
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), everybody).unwrap();
        let process = command
            .arg("demo")
            .env("TMPDIR", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// Agents whose files lie in this demo's directory.
    fn agents(&self) -> Vec<i32> {
        let ours = self.directory.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap();
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                line.contains(ours) && line.contains("\0run\0")
            })
            .collect()
    }

    fn wait_for_agents(&mut self) {
        until("both agents run", || self.agents().len() == 2);
    }

    fn left_behind(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Its exit code and what it said.
    fn finish(mut self) -> (Option<i32>, String, String) {
        let process = &mut self.process;
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = process.kill();
                panic!("the demo does not end");
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.agents(), Vec::<i32>::new(), "agents are left behind");
        assert_eq!(self.left_behind(), Vec::<PathBuf>::new());
        let output = self.process.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Why a demo by this process cannot succeed here.
fn obstacle() -> Option<Completion> {
    let permitted = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
    if matches!(permitted, Ok(Ok(()))) {
        return None;
    }
    // Children may still get a user namespace; whether, only trying tells.
    let tried = Command::new("unshare").args(["-Urn", "true"]).status();
    match tried {
        Ok(status) if status.success() => None,
        _ => Some(Completion::ignored_with(
            "no network namespaces may be made here",
        )),
    }
}

/// Milliseconds of silence in a row of the closing table.
fn silence(story: &str, row: &str) -> f64 {
    let closing = story.split("What the client noticed:").nth(1).unwrap();
    let line = closing.lines().find(|line| line.contains(row)).unwrap();
    let number = line.rsplit_once("silence ").unwrap().1;
    number.strip_suffix(" ms").unwrap().parse().unwrap()
}

fn judge_story(code: Option<i32>, story: &str, errors: &str) {
    assert_eq!(code, Some(0), "{story}{errors}");
    assert!(
        story.contains("The address moved and came back."),
        "{story}"
    );
    // 2 to 3 intervals of 200 ms and the skew of 122 ms; above, room for a
    // slow machine.
    let cut = silence(story, "host cut off");
    assert!((510.0..1_500.0).contains(&cut), "{story}");
    // Neither a preemption nor a planned stop waits for anybody's timer.
    for planned in ["host back, preempts", "agent stopped as planned"] {
        assert!(silence(story, planned) < 400.0, "{story}");
    }
}

fn moves_and_comes_back() -> Completion {
    if let Some(ignored) = obstacle() {
        return ignored;
    }
    let (code, story, errors) = Demo::start(&mut Command::new(BINARY)).finish();
    judge_story(code, &story, &errors);
    Completion::Completed
}

fn ctrl_c() -> Completion {
    if let Some(ignored) = obstacle() {
        return ignored;
    }
    for (signal, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut demo = Demo::start(&mut Command::new(BINARY));
        demo.wait_for_agents();
        let asked = Instant::now();
        kill(demo.pid(), signal).unwrap();
        let (code, story, errors) = demo.finish();
        assert_eq!(code, Some(expected), "{story}{errors}");
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
    }
    Completion::Completed
}

fn killed() -> Completion {
    if let Some(ignored) = obstacle() {
        return ignored;
    }
    let mut demo = Demo::start(&mut Command::new(BINARY));
    demo.wait_for_agents();
    demo.process.kill().unwrap();
    demo.process.wait().unwrap();
    until("the agents die", || demo.agents().is_empty());
    Completion::Completed
}

fn no_root() -> Completion {
    if !geteuid().is_root() {
        return Completion::ignored_with(
            "run by root, this runs the demo as nobody; \
             run by others, the first test has shown it",
        );
    }
    // The build directory may be closed to others.
    let open = tempfile::tempdir().unwrap();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(open.path(), everybody.clone()).unwrap();
    let binary = open.path().join("vipward");
    fs::copy(BINARY, &binary).unwrap();
    fs::set_permissions(&binary, everybody).unwrap();
    let as_nobody = |program: &Path| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    };
    let tried = as_nobody(Path::new("unshare"))
        .args(["-Urn", "true"])
        .status();
    let (code, story, errors) = Demo::start(&mut as_nobody(&binary)).finish();
    if tried.is_ok_and(|status| status.success()) {
        judge_story(code, &story, &errors);
        return Completion::Completed;
    }
    // Not permitted here: then it must say so, and what would allow it.
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("network namespaces are not permitted here"),
        "{errors}"
    );
    assert!(errors.contains("as root"), "{errors}");
    Completion::ignored_with("user namespaces are not permitted here")
}
