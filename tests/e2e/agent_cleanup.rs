//! Agent and guardian are both dead: what they left is removed by `cleanup`
//! and by the next start, and nothing else is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::guardian::said;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, vip6, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 9] = [
        ("agent_cleanup_removes_what_both_left", both_killed),
        (
            "agent_cleanup_at_start_after_another_configuration",
            at_start,
        ),
        ("agent_cleanup_refuses_while_the_agent_lives", refuses),
        (
            "agent_cleanup_knows_the_mark_where_the_record_is_lost",
            lost_record,
        ),
        ("agent_cleanup_leaves_the_addresses_of_others", others),
        ("agent_cleanup_of_a_host_without_agent", no_agent),
        ("agent_cleanup_of_another_runtime_directory", elsewhere),
        ("agent_record_on_a_full_disk", || record_fails(fill)),
        ("agent_record_in_a_read_only_directory", || {
            record_fails(close)
        }),
    ];
    trials
        .map(|(name, run)| trial(name, Needs::Nothing, run))
        .into()
}

fn router() -> Router {
    Router::new(200).addresses(&["192.0.2.100/24", "2001:db8::100/64"])
}

fn active(lab: &Lab, a: &Host) -> Agent {
    let agent = lab.agent(a, &[router()]);
    for address in [vip(), vip6()] {
        a.watch.wait(agent.started, address, true, LONG);
    }
    agent
}

/// Right after both were killed: no lease, which has 2 s at least, is over.
fn assert_left(a: &Host, killed: Instant) {
    let left = a.has(vip()) && a.has(vip6());
    assert!(left, "gone {:?} after the deaths", killed.elapsed());
}

fn both_killed() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = active(&lab, &a);
    let killed = agent.kill_with_guardian();
    assert_left(&a, killed);
    let words = said(&a.cleanup(&agent));
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(
        lines,
        [
            "sent priority 0 for web",
            "removed 2001:db8::100/128 from eth0",
            "removed 192.0.2.100/32 from eth0",
        ]
    );
    assert!(!a.has(vip()) && !a.has(vip6()));
    assert!(a.has(a.v4()) && a.has(a.v6()));
    let farewell = lab.observer.wait_advert(killed, "a", 0, LONG);
    let listed = farewell.advert().map(|advert| advert.addresses.clone());
    assert_eq!(listed, Some(vec![vip()]));
    assert_eq!(said(&a.cleanup(&agent)), "nothing was left\n");
    sleep(ms(200));
    let told = lab.observer.adverts(killed, "a");
    assert_eq!(
        told.iter()
            .filter(|(_, advert)| advert.priority == 0)
            .count(),
        1
    );
}

/// Nothing of what was left is in the file any more.
fn at_start() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = active(&lab, &a);
    let killed = agent.kill_with_guardian();
    assert_left(&a, killed);
    let mut other = Router::new(150).addresses(&["192.0.2.200/24"]);
    other.name = "other".to_owned();
    other.vrid = 77;
    let again = lab.agent(&a, &[other]);
    for address in [vip(), vip6()] {
        let gone = a.watch.wait(again.started, address, false, LONG);
        assert_span("the end", gone - again.started, ms(0), ms(1000));
    }
    let farewell = lab.observer.wait_advert(again.started, "a", 0, LONG);
    let advert = farewell.advert().expect("an advertisement");
    assert_eq!((advert.vrid, &advert.addresses), (51, &vec![vip()]));
    let said = "removed 192.0.2.100/32 from eth0";
    wait_until("the line", LONG, || again.process.log().contains(said));
    again.wait_state("other", "active", LONG);
}

fn refuses() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a);
    let before = fs::read(agent.runtime.join("addresses.json")).expect("the record");
    let refused = a.cleanup(&agent);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    let expected = format!("another agent (pid {}) holds ", agent.process.pid());
    assert!(words.contains(&expected), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    sleep(ms(100));
    assert!(a.has(vip()) && a.has(vip6()));
    let after = fs::read(agent.runtime.join("addresses.json")).expect("the record");
    assert_eq!(before, after);
    let adverts = lab.observer.adverts(agent.started, "a");
    assert!(adverts.iter().all(|(_, advert)| advert.priority == 200));
}

fn lost_record() {
    let lab = Lab::new();
    let a = lab.host("a");
    for torn in [false, true] {
        let mut agent = active(&lab, &a);
        let killed = agent.kill_with_guardian();
        assert_left(&a, killed);
        let record = agent.runtime.join("addresses.json");
        if torn {
            let whole = fs::read(&record).expect("the record");
            fs::write(&record, &whole[..whole.len() / 2]).expect("torn");
        } else {
            fs::remove_file(&record).expect("lost");
        }
        let output = a.cleanup(&agent);
        let words = said(&output);
        assert!(
            words.contains("removed 192.0.2.100/32 from eth0\n"),
            "{words}"
        );
        assert!(
            words.contains("removed 2001:db8::100/128 from eth0\n"),
            "{words}"
        );
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            complaint.contains("addresses.json is no record: "),
            torn,
            "{complaint}"
        );
        assert!(!a.has(vip()) && !a.has(vip6()));
        assert_eq!(said(&a.cleanup(&agent)), "nothing was left\n");
    }
}

/// Somebody else gave the host an address of his own, and after the deaths
/// took over one of ours by hand.
fn others() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = active(&lab, &a);
    a.ip("addr add 192.0.2.77/24 dev eth0");
    let killed = agent.kill_with_guardian();
    assert_left(&a, killed);
    a.ip("addr del 192.0.2.100/32 dev eth0");
    a.ip("addr add 192.0.2.100/32 dev eth0");
    let words = said(&a.cleanup(&agent));
    assert!(!words.contains("192.0.2."), "{words}");
    assert!(
        words.contains("removed 2001:db8::100/128 from eth0"),
        "{words}"
    );
    for kept in [[192, 0, 2, 77], [192, 0, 2, 100]] {
        assert!(a.has(kept.into()), "{kept:?}");
    }
    assert!(a.has(a.v4()) && a.has(a.v6()) && !a.has(vip6()));
}

fn no_agent() {
    let lab = Lab::new();
    let [a, other] = lab.hosts(["a", "other"]);
    let agent = Agent {
        runtime: lab.directory.path().join("never/made"),
        ..lab.agent(&other, &[Router::new(100)])
    };
    assert_eq!(said(&a.cleanup(&agent)), "nothing was left\n");
}

/// An agent lives on the host, though not in this directory: its addresses
/// bear the same mark, and stay.
fn elsewhere() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = active(&lab, &a);
    let runtime = std::mem::replace(&mut agent.runtime, lab.directory.path().join("elsewhere"));
    let began = Instant::now();
    let output = a.cleanup(&agent);
    assert_eq!(said(&output), "nothing was left\n");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("another agent lives"), "{words}");
    assert_eq!(a.watch.times(began, vip()), []);
    // Once it is dead they are anybody's to remove.
    agent.runtime = runtime;
    let killed = agent.kill_with_guardian();
    assert_left(&a, killed);
    agent.runtime = lab.directory.path().join("elsewhere");
    let words = said(&a.cleanup(&agent));
    assert!(
        words.contains("removed 192.0.2.100/32 from eth0"),
        "{words}"
    );
}

fn fill(runtime: &Path, _: u32) {
    let block = vec![0; 512];
    let mut whole = Vec::new();
    while fs::write(runtime.join("filler"), &whole).is_ok() {
        whole.extend_from_slice(&block);
        assert!(whole.len() < 1 << 20, "it is not full at 1 MiB");
    }
}

/// Seen by the agent alone, which `ip` gave mounts of its own. Its own one
/// cannot become read-only while the lock is open for writing.
fn close(runtime: &Path, agent: u32) {
    let mut command = Command::new("nsenter");
    command.args(["-m", "-t", &agent.to_string(), "mount", "-t", "tmpfs", "-o"]);
    let status = command.args(["ro", "none"]).arg(runtime).status();
    assert!(status.expect("nsenter").success());
}

fn mount(how: &[&str], place: &Path) {
    let mut command = Command::new("mount");
    let status = command.args(how).arg(place).status().expect("mount");
    assert!(status.success(), "mount {how:?}: {status}");
}

/// A small file system of its own under the runtime directory, which fails
/// while the agent is Backup: it takes over all the same, the guardian knows
/// what it holds, and the log has one line.
fn record_fails(spoil: fn(&Path, u32)) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let runtime = lab.place("a", "runtime");
    fs::create_dir(&runtime).expect("a directory");
    mount(&["-t", "tmpfs", "-o", "size=32k", "none"], &runtime);
    let mut best = lab.agent(&b, &[Router::new(250)]);
    b.watch.wait(best.started, vip(), true, LONG);
    let file = yaml("a", &[router()]);
    let mut agent = lab.agent_with(&a, &file);
    agent.wait_state("web", "backup", LONG);
    spoil(&runtime, agent.process.pid());
    let killed = Instant::now();
    best.process.kill();
    let taken = lab.observer.wait_advert(killed, "a", 200, LONG).at;
    for address in [vip(), vip6()] {
        let there = a.watch.wait(killed, address, true, LONG);
        assert_span("the address", there - taken, ms(0), ms(100));
    }
    // Given up and claimed again: the record fails each time.
    let back = lab.agent(&b, &[Router::new(250)]);
    a.watch.wait(back.started, vip(), false, LONG);
    // It may follow before the other one has quite gone.
    let lost = Instant::now();
    drop(back);
    a.watch.wait(lost, vip(), true, LONG);
    let log = agent.process.log();
    let told = log
        .matches("the record of our addresses cannot be written")
        .count();
    assert_eq!(told, 1, "one line a minute: {log}");
    let guardian = agent.guardian(None);
    agent.process.signal(Signal::SIGKILL);
    wait_until("the guardian's end", LONG, || {
        !crate::lab::guardian::lives(guardian)
    });
    assert!(!a.has(vip()) && !a.has(vip6()));
    let _ = agent.process.wait_exit(LONG);
    let status = Command::new("umount").arg("-l").arg(&runtime).status();
    assert!(status.expect("umount").success());
}
