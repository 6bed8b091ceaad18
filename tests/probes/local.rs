//! This host itself: its processes, its file systems, its pressure.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use vipward::config::work::probe::{
    Average, Bytes, DiskProbe, Percent, PressureProbe, ProcessProbe, Resource, Room, Stalled,
};

use super::*;

fn ask(kind: ProbeKind) -> JobResult {
    run(Probe {
        kind,
        timeout: ENOUGH,
    })
}

/// A program that sleeps under this name; it ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        if !path.exists() {
            std::fs::copy("/bin/sleep", &path).expect("a copy");
        }
        let mut command = Command::new(&path);
        command.arg("600").process_group(0);
        // A copy that another thread's child still holds open for writing.
        let start = Instant::now();
        loop {
            match command.spawn() {
                Ok(child) => return Self(child),
                Err(error) if start.elapsed() > ENOUGH => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(name: &str, min: u32, max: Option<u32>) -> ProbeKind {
    ProbeKind::Process(ProcessProbe {
        name: Some(name.to_owned()),
        pid_file: None,
        min,
        max,
    })
}

/// Until the look that serves for a while is over.
#[track_caller]
fn wait_for(kind: ProbeKind, wanted: &Verdict) {
    let start = Instant::now();
    loop {
        let result = ask(kind.clone());
        if result.verdict == *wanted {
            return;
        }
        assert!(start.elapsed() < ENOUGH, "{result:?}, not {wanted:?}");
    }
}

#[test]
fn processes_are_counted_as_they_come_and_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("vw-{}", std::process::id() % 1_000_000);
    let none = Verdict::Failed(format!("no process is named `{name}`"));
    assert_eq!(ask(process(&name, 1, None)).verdict, none);
    let first = Sleeper::start(directory.path(), &name);
    wait_for(process(&name, 1, None), &Verdict::Passed);
    let few = format!("1 process is named `{name}`, and at least 2 must be");
    assert_eq!(ask(process(&name, 2, None)).verdict, Verdict::Failed(few));
    let second = Sleeper::start(directory.path(), &name);
    wait_for(process(&name, 2, Some(2)), &Verdict::Passed);
    let many = format!("2 processes are named `{name}`, and at most 1 may be");
    assert_eq!(
        ask(process(&name, 1, Some(1))).verdict,
        Verdict::Failed(many)
    );
    drop((first, second));
    wait_for(process(&name, 1, None), &none);
}

#[test]
fn a_process_that_nobody_reaped_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("vz-{}", std::process::id() % 1_000_000);
    let mut sleeper = Sleeper::start(directory.path(), &name);
    wait_for(process(&name, 1, None), &Verdict::Passed);
    sleeper.0.kill().expect("killed");
    let why =
        format!("no process is named `{name}`; 1 more ended, which their parents have not noticed");
    wait_for(process(&name, 1, None), &Verdict::Failed(why));
}

#[test]
fn a_long_name_is_compared_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("vipward-long-name-{}", std::process::id());
    let _sleeper = Sleeper::start(directory.path(), &name);
    wait_for(process(&name, 1, Some(1)), &Verdict::Passed);
    let other = format!("{name}x");
    let none = Verdict::Failed(format!("no process is named `{other}`"));
    assert_eq!(ask(process(&other, 1, None)).verdict, none);
}

#[test]
fn a_pid_file_follows_its_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("vp-{}", std::process::id() % 1_000_000);
    let sleeper = Sleeper::start(directory.path(), &name);
    let pid = sleeper.0.id();
    let file = directory.path().join("pid");
    let probe = |name: Option<&str>| {
        ProbeKind::Process(ProcessProbe {
            name: name.map(str::to_owned),
            pid_file: Some(file.clone()),
            min: 1,
            max: None,
        })
    };
    let missing = format!("{} does not exist", file.display());
    assert_eq!(ask(probe(None)).verdict, Verdict::Failed(missing));
    std::fs::write(&file, format!("{pid}\n")).expect("written");
    assert_eq!(ask(probe(None)).verdict, Verdict::Passed);
    wait_for(probe(Some(&name)), &Verdict::Passed);
    assert!(failure(&ask(probe(Some("other")))).ends_with("not `other`"));
    drop(sleeper);
    assert!(failure(&ask(probe(None))).ends_with("does not run"));
}

/// Every check looks within one look's time, and none waits for another's.
#[test]
fn many_checks_share_one_look() {
    let (sender, mut results) = mpsc::channel(UNDER_WAY_MAX);
    let probes = Probes::start(sender).expect("the thread");
    let began = Instant::now();
    for id in 0..200 {
        let kind = process("no-such-process", 1, None);
        let timeout = ENOUGH;
        let probe = Arc::new(Probe { kind, timeout });
        probes.submit(JobId(id), probe).expect("room");
    }
    for _ in 0..200 {
        let (_, result) = results.blocking_recv().expect("a result");
        assert_eq!(failure(&result), "no process is named `no-such-process`");
    }
    assert!(began.elapsed() < ENOUGH, "{:?}", began.elapsed());
}

/// One look serves for a while, and not for ever.
#[test]
fn what_came_after_a_look_is_seen_by_the_next() {
    let (sender, mut results) = mpsc::channel(4);
    let probes = Probes::start(sender).expect("the thread");
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("vl-{}", std::process::id() % 1_000_000);
    let mut ask = || {
        let kind = process(&name, 1, None);
        let timeout = ENOUGH;
        let probe = Arc::new(Probe { kind, timeout });
        probes.submit(JobId(1), probe).expect("room");
        let (_, result) = results.blocking_recv().expect("a result");
        result.verdict == Verdict::Passed
    };
    assert!(!ask());
    let _sleeper = Sleeper::start(directory.path(), &name);
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < ENOUGH, "it is not seen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn disk(path: &str, free: Option<Room>, inodes: Option<Percent>) -> ProbeKind {
    let path = PathBuf::from(path);
    ProbeKind::Disk(DiskProbe { path, free, inodes })
}

#[test]
fn the_room_of_a_file_system_is_told() {
    let some = Some(Room::Bytes(Bytes(1024)));
    let result = ask(disk("/", some, Some(Percent(1))));
    assert_eq!(result.verdict, Verdict::Passed, "{}", result.output);
    assert!(result.output.starts_with("/: "), "{}", result.output);
    let much = Some(Room::Bytes(Bytes(1 << 60)));
    let result = ask(disk("/", much, None));
    assert!(
        failure(&result).ends_with("and 1048576TiB must be"),
        "{result:?}"
    );
    let result = ask(disk("/nowhere/at/all", some, None));
    assert_eq!(failure(&result), "/nowhere/at/all does not exist");
    let result = ask(disk("/dev/null/x", some, None));
    assert_eq!(failure(&result), "/dev/null/x does not exist");
}

#[test]
fn the_pressure_of_this_kernel_is_told() {
    for resource in Resource::ALL {
        let probe = PressureProbe {
            resource,
            stalled: Stalled::Some,
            average: Average::FiveMinutes,
            above: Percent(10_000),
        };
        let result = ask(ProbeKind::Pressure(probe));
        match Path::new("/proc/pressure").exists() {
            true => assert_eq!(result.verdict, Verdict::Passed, "{result:?}"),
            false => assert!(failure(&result).contains("psi=1"), "{result:?}"),
        }
    }
}
