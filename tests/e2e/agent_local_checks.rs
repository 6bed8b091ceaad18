//! Checks of this host and its neighbours: each kind fails for real, the
//! address moves, and it returns when all is well again.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, ResourceRecord};

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::{Host, LONG, Lab, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_check_file", file),
        trial("agent_check_process_in_a_combination", process),
        trial("agent_check_arp_and_ping", neighbours),
        trial("agent_check_dns", dns),
        trial("agent_check_disk", disk),
        trial("agent_check_pressure", pressure),
        trial("agent_check_link_errors", link_errors),
        trial("agent_check_systemd_without_a_bus", no_bus),
        trial("agent_check_early_warning", early_warning),
    ]
}

/// What no busy machine reaches; a run in time is not the subject here.
const CALM: &str = "interval: 200ms, timeout: 5s, rise: 1, fall: 1";

struct Pair {
    lab: Lab,
    a: Host,
    b: Host,
}

impl Pair {
    fn new() -> Self {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        Self { lab, a, b }
    }

    fn path(&self, name: &str) -> String {
        self.lab.directory.path().join(name).display().to_string()
    }

    /// a is Active by these checks, `uses` of them; b waits.
    fn serve(&self, uses: &str, checks: &str) -> (Agent, Agent) {
        let router = Router::new(200).with(&format!("checks: [{uses}]"));
        let file = format!("{}checks:\n{checks}", yaml("a", &[router]));
        let best = self.lab.agent_with(&self.a, &file);
        let second = self.lab.agent(&self.b, &[Router::new(100)]);
        best.wait_state("web", "active", LONG);
        second.wait_state("web", "backup", LONG);
        (best, second)
    }

    fn moves(&self, fail: impl FnOnce()) {
        self.goes(&self.a, &self.b, fail);
    }

    fn returns(&self, mend: impl FnOnce()) {
        self.goes(&self.b, &self.a, mend);
    }

    fn goes(&self, from: &Host, to: &Host, why: impl FnOnce()) {
        let began = Instant::now();
        why();
        to.watch.wait(began, vip(), true, LONG);
        from.watch.wait(began, vip(), false, LONG);
    }
}

fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

#[track_caller]
fn says(agent: &Agent, check: &str, words: &str) {
    wait_until(&format!("{check} to say {words}"), LONG, || {
        let told = agent.check(check)["output"].to_string();
        told.contains(words)
    });
}

fn file() {
    let pair = Pair::new();
    let path = pair.path("number");
    let (best, _second) = pair.serve("flag", &format!("  flag: {{ file: {path} }}\n"));
    let obstacle = best.instance("web")["obstacles"][0].clone();
    assert_eq!(obstacle["code"], "no-number", "{obstacle}");
    says(&best, "flag", "does not exist");
    pair.moves(|| write(path.as_ref(), "-150\n"));
    let term = best.instance("web")["priority"]["terms"][0].clone();
    assert_eq!(
        (&term["source"], &term["delta"]),
        (&"check flag".into(), &(-150).into())
    );
    assert_eq!(best.check("flag")["number"], -150);
    pair.returns(|| write(path.as_ref(), "-50\n"));
    pair.moves(|| write(path.as_ref(), "-99999\n"));
    says(&best, "flag", "-99999 counts as -254");
    // What is no number costs nothing.
    pair.returns(|| write(path.as_ref(), "much\n"));
    says(&best, "flag", "no whole number");
    end(best);
}

/// A program by a name of its own.
fn sleeper(path: &str) -> Child {
    let command = || Command::new(path).arg("600").spawn();
    let mut child = command();
    wait_until("the program to start", LONG, || {
        if child.is_err() {
            // Another trial's child may still hold the copy open.
            child = command();
        }
        child.is_ok()
    });
    child.expect("it was waited for")
}

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

fn process() {
    let pair = Pair::new();
    let name = format!("vwe-{}", std::process::id());
    let path = pair.path(&name);
    fs::copy("/bin/sleep", &path).expect("a copy");
    let (first, second) = (sleeper(&path), sleeper(&path));
    let checks = format!(
        "  two: {{ process: {name}, min: 2, {CALM} }}\n  one: {{ process: {name}, {CALM} }}\n  \
         init: {{ process: \"{name}x\", {CALM} }}\n  \
         most: {{ at_least: {{ 2: [one, two, init] }} }}\n"
    );
    let (best, _second) = pair.serve("most", &checks);
    pair.moves(|| kill(first));
    let obstacle = best.instance("web")["obstacles"][0].clone();
    assert_eq!(obstacle["source"], "check most", "{obstacle}");
    let text = obstacle["text"].as_str().expect("a text");
    assert!(text.starts_with("1 of 3 is up, 2 must be: "), "{text}");
    let said = format!("1 process is named `{name}`, and at least 2 must be");
    assert!(text.contains(&said), "{text}");
    let mut third = None;
    pair.returns(|| third = Some(sleeper(&path)));
    end(best);
    kill(second);
    kill(third.expect("it was started"));
}

/// A gateway on the second network answers, and does not.
fn neighbours() {
    let pair = Pair::new();
    pair.lab.plug(&pair.a, "eth1");
    let gateway = pair.lab.bare_host("gateway");
    pair.lab.plug(&gateway, "eth1");
    let address = IpAddr::from([198, 51, 100, gateway.number]);
    let options = "interval: 300ms, timeout: 2s, rise: 1, fall: 1";
    let checks = format!(
        "  arp: {{ arp: {address}, interface: eth1, {options} }}\n  \
         echo: {{ ping: {address}, {options} }}\n"
    );
    let (best, _second) = pair.serve("arp, echo", &checks);
    says(&best, "arp", &format!("{address} is at "));
    pair.moves(|| {
        gateway.namespace.ip("link set eth1 down");
    });
    says(
        &best,
        "arp",
        &format!("while waiting for an answer of {address} on eth1"),
    );
    pair.returns(|| {
        gateway.namespace.ip("link set eth1 up");
    });
    // Ping alone notices this one.
    let deaf = |value| {
        gateway
            .namespace
            .sysctl(&[("ipv4/icmp_echo_ignore_all", value)]);
    };
    pair.moves(|| deaf("1"));
    says(
        &best,
        "echo",
        &format!("while waiting for an echo of {address}"),
    );
    assert_eq!(best.check("arp")["state"], "up");
    pair.returns(|| deaf("0"));
    end(best);
}

/// A name server of a's own, which is well or not.
fn dns() {
    let pair = Pair::new();
    let socket = pair
        .a
        .namespace
        .run(|| UdpSocket::bind("127.0.0.1:5353"))
        .expect("a port of the lab's own");
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    // It ends with the trial's program.
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(question) = Packet::parse(&buffer[..length]) else {
                continue;
            };
            let name = question.questions[0].qname.clone();
            let mut reply = question.into_reply();
            if is_well.load(Ordering::SeqCst) {
                let rdata = RData::A(A {
                    address: Ipv4Addr::new(192, 0, 2, 80).into(),
                });
                let record = ResourceRecord::new(name, CLASS::IN, 60, rdata);
                reply.answers.push(record);
            }
            let _ = socket.send_to(&reply.build_bytes_vec().expect("bytes"), from);
        }
    });
    let checks = format!(
        "  names: {{ dns: www.example.net, server: \"127.0.0.1:5353\", expect: 192.0.2.80, {CALM} }}\n"
    );
    let (best, _second) = pair.serve("names", &checks);
    pair.moves(|| well.store(false, Ordering::SeqCst));
    says(&best, "names", "and no address of it");
    pair.returns(|| well.store(true, Ordering::SeqCst));
    end(best);
}

/// A small file system of the trial's own is filled.
fn disk() {
    let pair = Pair::new();
    let path = pair.path("disk");
    fs::create_dir(&path).expect("made");
    let tmpfs = Some("tmpfs");
    mount(
        tmpfs,
        path.as_str(),
        tmpfs,
        MsFlags::empty(),
        Some("size=4m"),
    )
    .expect("mounted");
    let checks = format!("  room: {{ disk: {path}, free: 50%, {CALM} }}\n");
    let (best, _second) = pair.serve("room", &checks);
    let file = format!("{path}/much");
    pair.moves(|| write(file.as_ref(), &"x".repeat(3 << 20)));
    says(&best, "room", "25% is free (1 MiB), and 50% must be");
    pair.returns(|| fs::remove_file(&file).expect("removed"));
    end(best);
    umount2(path.as_str(), MntFlags::MNT_DETACH).expect("unmounted");
}

/// More work than processors.
fn pressure() {
    if !std::path::Path::new("/proc/pressure/cpu").exists() {
        eprintln!("this kernel tells no pressure; nothing was tried");
        return;
    }
    let pair = Pair::new();
    let checks = |above: &str| format!("  stall: {{ pressure: cpu, above: {above}, {CALM} }}\n");
    let (best, _second) = pair.serve("stall", &checks("100%"));
    says(&best, "stall", "some work stood still for cpu");
    let on = Arc::new(AtomicBool::new(true));
    let spinners = thread::available_parallelism().map_or(4, usize::from) * 2;
    for _ in 0..spinners {
        let on = Arc::clone(&on);
        thread::spawn(move || while on.load(Ordering::Relaxed) {});
    }
    pair.moves(|| {
        let file = fs::read_to_string(&best.config).expect("its file");
        write(&best.config, &file.replace("above: 100%", "above: 0.5%"));
        let reloaded = best.ask(&["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
    });
    on.store(false, Ordering::Relaxed);
    says(&best, "stall", "and 0.5% is the limit");
    end(best);
}

/// No cable of a lab has errors; one that is gone has no counters.
fn link_errors() {
    let pair = Pair::new();
    pair.lab.plug(&pair.a, "eth1");
    let checks = format!("  cable: {{ link_errors: eth1, above: 0, {CALM} }}\n");
    let (best, _second) = pair.serve("cable", &checks);
    says(&best, "cable", "0 errors a second");
    pair.moves(|| pair.lab.unplug(&pair.a, "eth1"));
    says(&best, "cable", "the interface eth1 does not exist");
    pair.returns(|| pair.lab.plug(&pair.a, "eth1"));
    end(best);
}

/// Nothing is known, and after a while that is a failure.
fn no_bus() {
    if std::path::Path::new("/run/dbus/system_bus_socket").exists() {
        eprintln!("this machine has a system bus; nothing was tried");
        return;
    }
    let pair = Pair::new();
    let router = Router::new(200).with("checks: [{ name: unit, weight: -150 }]");
    let checks = "checks:\n  unit: { systemd: web.service, interval: 500ms, timeout: 500ms }\n";
    let file = yaml("a", &[router]) + checks;
    let best = pair.lab.agent_with(&pair.a, &file);
    let _second = pair.lab.agent(&pair.b, &[Router::new(100)]);
    let why = "could not be run: the system bus cannot be reached";
    says(&best, "unit", why);
    best.wait_check("unit", "down", LONG);
    pair.b.watch.wait(best.started, vip(), true, LONG);
    best.wait_state("web", "backup", LONG);
    says(&best, "unit", why);
    end(best);
}

/// The host still works: it is said, and nothing is taken from anybody.
fn early_warning() {
    let pair = Pair::new();
    let path = pair.path("well");
    write(path.as_ref(), &std::process::id().to_string());
    let checks = format!("  early: {{ pid_file: {path}, on_fail: handover, {CALM} }}\n");
    let (best, _second) = pair.serve("early", &checks);
    let before = best.transitions("web");
    write(path.as_ref(), "none\n");
    best.wait_check("early", "down", LONG);
    assert_eq!(best.check("early")["on_fail"], "handover");
    let web = best.instance("web");
    assert_eq!(web["obstacles"][0]["code"], "early-warning", "{web}");
    assert_eq!(
        (web["state"].as_str(), best.transitions("web")),
        (Some("active"), before)
    );
    end(best);
}
