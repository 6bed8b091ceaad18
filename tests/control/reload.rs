//! `vipward reload` and SIGHUP's way in, with a loop and a file that behave
//! as told.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as threads};
use std::time::{Duration, Instant as Clock};

use jiff::Timestamp;
use nix::unistd::{Gid, Group, Uid};
use tokio::sync::mpsc;
use vipward::agent::status::StateName;
use vipward::control::client::{ReloadAnswer, fetch_status, request_reload};
use vipward::control::document::Document;
use vipward::control::listener::Access;
use vipward::control::reload::{Application, Prepared, RELOAD_TIMEOUT};
use vipward::control::server::{Request, Setup};

use super::{
    Agent, PATIENCE, ROOM, code, error_of, instance, picture, prepared, setup, status_line, stderr,
    stdout,
};

const NOBODY: u32 = 65534;

fn vipward_reload(runtime_dir: &Path) -> Output {
    assert_cmd::Command::cargo_bin("vipward")
        .unwrap()
        .args(["reload", "--runtime-dir"])
        .arg(runtime_dir)
        .timeout(PATIENCE)
        .output()
        .unwrap()
}

/// An agent whose configuration is judged so, and applied at once.
fn judged_by(
    judge: impl Fn() -> Result<Prepared<String>, String> + Send + Sync + 'static,
) -> Agent {
    let web = vec![instance("web", StateName::Active)];
    Agent::started(web, |sender| Setup {
        judge: Arc::new(judge),
        ..setup(sender)
    })
}

fn document(agent: &Agent) -> Document {
    fetch_status(&agent.socket(), PATIENCE).unwrap()
}

fn next(requests: &mut mpsc::Receiver<Request<String>>) -> Application<String> {
    match requests.blocking_recv() {
        Some(Request::Apply(application)) => application,
        other => panic!("{other:?}"),
    }
}

fn failed(answer: ReloadAnswer) -> String {
    match answer {
        ReloadAnswer::Failed(sentence) => sentence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_file_is_applied_and_shown() {
    let agent = judged_by(|| {
        Ok(Prepared {
            node: "lb9".to_owned(),
            warnings: vec!["first\x1b[2J".to_owned(), "second".to_owned()],
            ..prepared("new")
        })
    });
    let before = document(&agent);
    assert_eq!(before.config.digest, "6b86b273");
    // The document has milliseconds.
    std::thread::sleep(Duration::from_millis(20));
    let asked_at = Timestamp::now() - Duration::from_millis(1);
    let output = vipward_reload(agent.directory.path());
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stdout(&output), "applied new\n");
    assert_eq!(
        stderr(&output),
        "vipward: warning: first\u{fffd}[2J\nvipward: warning: second\n"
    );
    let after = document(&agent);
    assert_eq!(after.config.digest, "digest of new");
    assert_eq!((after.node.as_str(), after.pid), ("lb9", 4242));
    assert!(after.config.loaded_at.0 >= asked_at, "{after:?}");
    assert_eq!(after.started_at, before.started_at);
    assert_eq!(after.config.path, before.config.path);
}

#[test]
fn a_faulty_file_changes_nothing_and_its_faults_arrive() {
    let faults = "error: unknown key `adresses`\n --> a.yaml:3:5\n\n1 fault\x1b[2J";
    let agent = judged_by(move || Err(faults.to_owned()));
    let before = document(&agent);
    let output = vipward_reload(agent.directory.path());
    assert_eq!(code(&output), 1, "{output:?}");
    assert_eq!(stdout(&output), "");
    let shown = faults.replace('\x1b', "\u{fffd}");
    assert_eq!(stderr(&output), format!("vipward: {shown}\n"));
    // The fake loop would have changed the digest.
    assert_eq!(document(&agent), before);

    let answer = agent.say(b"POST /reload HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 422 Unprocessable Entity");
    assert_eq!(error_of(&answer), faults);
}

#[test]
fn a_refusing_loop_is_heard() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let refusing = std::thread::spawn(move || {
        let (_, accepted) = next(&mut requests).accept().unwrap();
        accepted.refused("the agent is tired".to_owned());
    });
    let output = vipward_reload(agent.directory.path());
    assert_eq!(code(&output), 1, "{output:?}");
    assert_eq!(
        stderr(&output),
        "vipward: the configuration was not applied: the agent is tired\n"
    );
    refusing.join().unwrap();
}

#[test]
fn no_agent_is_exit_3() {
    let directory = tempfile::tempdir().unwrap();
    let output = vipward_reload(directory.path());
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(stderr(&output).starts_with("vipward: no agent runs here"));
}

/// `vipward reload` by nobody, with this primary group and that other one.
fn by_nobody(agent: &Agent, primary: u32, other: Option<Gid>) -> Output {
    ordered_by_nobody(agent, primary, other, &["reload"])
}

fn ordered_by_nobody(agent: &Agent, primary: u32, other: Option<Gid>, order: &[&str]) -> Output {
    let directory = agent.directory.path();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, everybody).unwrap();
    // Whom the file lets in is not what this is about.
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(agent.socket(), open).unwrap();
    let binary = directory.join("vipward");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_vipward"), &binary).unwrap();
    }
    let mut command = std::process::Command::new("setpriv");
    command.arg(format!("--reuid={NOBODY}"));
    command.arg(format!("--regid={primary}"));
    match other {
        Some(group) => command.arg(format!("--groups={group}")),
        None => command.arg("--clear-groups"),
    };
    command.arg(&binary).args(order).arg("--runtime-dir");
    command.arg(directory).current_dir(directory);
    command.output().unwrap()
}

#[test]
fn only_root_and_the_admin_group_may() {
    if !Uid::effective().is_root() {
        eprintln!("not shown: becoming somebody else needs root");
        return;
    }
    let group = Group::from_name("daemon").unwrap().unwrap();
    let judged = Arc::new(AtomicUsize::new(0));
    let (sender, mut requests) = mpsc::channel(4);
    let counted = Arc::clone(&judged);
    let agent = Agent::with_setup(Setup {
        access: Access {
            read_group: None,
            admin_group: Some(group.name.clone()),
        },
        judge: Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(prepared("new"))
        }),
        ..setup(sender)
    });
    let output = by_nobody(&agent, NOBODY, None);
    assert_eq!(code(&output), 1, "{output:?}");
    assert_eq!(stdout(&output), "");
    assert_eq!(
        stderr(&output),
        "vipward: nobody may not: only root and members of the group daemon may (control.admin_group)\n"
    );
    for order in [
        &["handover", "web"][..],
        &["drain"],
        &["drain", "web", "--node", "lb2"],
        &["undrain", "--node", "lb2"],
    ] {
        let output = ordered_by_nobody(&agent, NOBODY, None, order);
        assert_eq!(code(&output), 1, "{order:?}: {output:?}");
        assert!(stderr(&output).contains("nobody may not"), "{output:?}");
    }
    assert!(requests.try_recv().is_err(), "asked for a stranger");
    assert_eq!(judged.load(Ordering::SeqCst), 0, "judged for a stranger");

    let applying = std::thread::spawn(move || {
        for _ in 0..3 {
            let (_, accepted) = next(&mut requests).accept().unwrap();
            accepted.done("done".to_owned());
        }
    });
    let own = group.gid.as_raw();
    for output in [
        by_nobody(&agent, own, None),
        by_nobody(&agent, NOBODY, Some(group.gid)),
        vipward_reload(agent.directory.path()),
    ] {
        assert_eq!(code(&output), 0, "{output:?}");
        assert_eq!(stdout(&output), "done\n");
    }
    applying.join().unwrap();
}

#[test]
fn reloads_at_once_go_one_after_the_other() {
    let running = Arc::new(Mutex::new(()));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let agent = judged_by(move || {
        let _alone = running.try_lock().map_err(|_| "two at once".to_owned())?;
        std::thread::sleep(Duration::from_millis(100));
        let call = counted.fetch_add(1, Ordering::SeqCst);
        Ok(prepared(&call.to_string()))
    });
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let socket = agent.socket();
            std::thread::spawn(move || request_reload(&socket).unwrap())
        })
        .collect();
    let mut summaries: Vec<String> = asking
        .into_iter()
        .map(|one| match one.join().unwrap() {
            ReloadAnswer::Applied { summary, .. } => summary,
            other => panic!("{other:?}"),
        })
        .collect();
    summaries.sort();
    assert_eq!(
        summaries,
        ["applied 0", "applied 1", "applied 2", "applied 3"]
    );
    assert_eq!(document(&agent).config.digest, "digest of 3");
}

#[test]
fn a_loop_that_does_not_take_it_finds_it_withdrawn() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let started = Clock::now();
    let output = request_reload(&agent.socket()).unwrap();
    let elapsed = started.elapsed();
    let sentence = failed(output);
    assert!(sentence.contains("did not take"), "{sentence}");
    assert!(sentence.contains("nothing was changed"), "{sentence}");
    assert!(elapsed >= RELOAD_TIMEOUT, "{elapsed:?}");
    assert!(elapsed < RELOAD_TIMEOUT + ROOM, "{elapsed:?}");
    assert!(next(&mut requests).accept().is_none(), "not withdrawn");
}

#[test]
fn a_loop_that_takes_long_is_said_to_be_at_it_and_shown_when_done() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let asking = std::thread::spawn({
        let socket = agent.socket();
        move || request_reload(&socket).unwrap()
    });
    let (_, accepted) = next(&mut requests).accept().unwrap();
    let sentence = failed(asking.join().unwrap());
    assert!(sentence.contains("still applying"), "{sentence}");
    accepted.done("late".to_owned());

    let deadline = Clock::now() + PATIENCE;
    loop {
        let socket = agent.socket();
        let asking = std::thread::spawn(move || fetch_status(&socket, PATIENCE).unwrap());
        let Some(Request::Status(reply)) = requests.blocking_recv() else {
            panic!("no status was asked");
        };
        reply.send(picture(Vec::new())).unwrap();
        if asking.join().unwrap().config.digest == "digest of new" {
            break;
        }
        assert!(Clock::now() < deadline, "the document never follows");
    }
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_holds_up_nothing() {
    let (release, gate) = threads::channel::<()>();
    let gate = Mutex::new(gate);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let mut agent = judged_by(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = gate.lock().unwrap().recv();
        Ok(prepared("new"))
    });
    let before = document(&agent);
    let asking = std::thread::spawn({
        let socket = agent.socket();
        move || request_reload(&socket).unwrap()
    });
    assert_eq!(document(&agent), before, "status is answered beside it");
    let sentence = failed(asking.join().unwrap());
    assert!(sentence.contains("was not read within 10 s"), "{sentence}");

    // The next one does not add to what hangs.
    let started = Clock::now();
    let sentence = failed(request_reload(&agent.socket()).unwrap());
    assert!(sentence.contains("was not read"), "{sentence}");
    assert!(started.elapsed() < ROOM);
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    let started = Clock::now();
    drop(agent.server.take());
    assert!(started.elapsed() < ROOM, "the stop waited for the file");
    drop(release);
}

#[test]
fn a_judge_that_panics_is_survived() {
    let calls = AtomicUsize::new(0);
    let agent = judged_by(move || match calls.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("planted"),
        _ => Ok(prepared("new")),
    });
    let sentence = failed(request_reload(&agent.socket()).unwrap());
    assert!(sentence.contains("nothing was changed"), "{sentence}");
    assert_eq!(code(&vipward_reload(agent.directory.path())), 0);
}

#[test]
fn a_loop_that_ends_is_not_waited_for() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let ending = std::thread::spawn(move || drop(next(&mut requests).accept().unwrap()));
    let started = Clock::now();
    let answer = agent.say(b"POST /reload HTTP/1.1\r\nhost: x\r\n\r\n");
    ending.join().unwrap();
    assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
    assert!(error_of(&answer).contains("stopped while"), "{answer}");
    let sentence = failed(request_reload(&agent.socket()).unwrap());
    assert!(sentence.contains("is stopping"), "{sentence}");
    assert!(started.elapsed() < Duration::from_secs(1) + ROOM);
}

#[test]
fn an_asker_that_leaves_does_not_stop_it() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let mut leaving = agent.connect();
    std::io::Write::write_all(&mut leaving, b"POST /reload HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let application = next(&mut requests);
    drop(leaving);
    std::thread::sleep(Duration::from_millis(100));
    let (_, accepted) = application.accept().unwrap();
    accepted.done("done".to_owned());
    // The next one begins after that one has ended.
    let asking = std::thread::spawn({
        let socket = agent.socket();
        move || request_reload(&socket).unwrap()
    });
    let second = next(&mut requests);
    let status = std::thread::spawn({
        let socket = agent.socket();
        move || fetch_status(&socket, PATIENCE).unwrap()
    });
    let Some(Request::Status(reply)) = requests.blocking_recv() else {
        panic!("no status was asked");
    };
    reply.send(picture(Vec::new())).unwrap();
    assert_eq!(status.join().unwrap().config.digest, "digest of new");
    second.accept().unwrap().1.done("again".to_owned());
    asking.join().unwrap();
}

#[test]
fn signals_are_reloads_and_many_of_them_are_few() {
    let (release, gate) = threads::channel::<()>();
    let gate = Mutex::new(gate);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let agent = judged_by(move || {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        Ok(prepared(&call.to_string()))
    });
    let trigger = agent.server.as_ref().unwrap().trigger();
    let patience = Clock::now() + PATIENCE;
    let wait_for = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Clock::now() < patience, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    trigger.reload();
    wait_for("never begun", &|| calls.load(Ordering::SeqCst) == 1);
    for _ in 0..100 {
        trigger.reload();
    }
    drop(release);
    wait_for("never shown", &|| {
        document(&agent).config.digest == "digest of 1"
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
