//! A keepalived pair in service becomes a vipward pair, one host at a time, with
//! the files that `vipward import` makes of theirs: docs/migrating-from-keepalived.md
//! as a story. The client is never without an answer for longer than one planned
//! move of keepalived's, and misses nothing where vipward is the one that resigns.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::{Agent, program};
use crate::lab::prober::Prober;
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, ms, vip, wait_until, write};
use crate::{Needs, trial};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// keepalived's defaults: version 2, one second.
    V2Multicast,
    V3Unicast,
}

pub fn trials() -> Vec<Trial> {
    let cases = [
        ("v2_multicast", Carrier::V2Multicast),
        ("v3_unicast", Carrier::V3Unicast),
    ];
    let mut trials = Vec::new();
    for (name, carrier) in cases {
        let whole = move || whole_story(carrier);
        trials.push(trial(
            format!("migration_of_a_pair_{name}"),
            Needs::Keepalived,
            whole,
        ));
        let back = move || way_back(carrier);
        trials.push(trial(
            format!("migration_and_the_way_back_{name}"),
            Needs::Keepalived,
            back,
        ));
    }
    trials
}

/// Two hosts with a keepalived.conf each, as people have it.
struct Pair {
    lab: Lab,
    client: Host,
    a: Host,
    b: Host,
    carrier: Carrier,
}

impl Pair {
    fn new(carrier: Carrier) -> Self {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts(["a", "b", "client"]);
        Self {
            lab,
            client,
            a,
            b,
            carrier,
        }
    }

    /// One file for both hosts, which differ by `@a` and `@b`: `--config-id`.
    fn keepalived_conf(&self) -> String {
        let (a, b) = (self.a.v4(), self.b.v4());
        let speech = match self.carrier {
            Carrier::V2Multicast => {
                "advert_int 1\n  authentication {\n    auth_type PASS\n    auth_pass s3cret\n  }"
                    .to_owned()
            }
            Carrier::V3Unicast => format!(
                "version 3\n  advert_int 0.3\n  @a unicast_src_ip {a}\n  @b unicast_src_ip {b}\n  \
                 unicast_peer {{\n    @^a {a}\n    @^b {b}\n  }}"
            ),
        };
        format!(
            "global_defs {{\n  @a router_id a\n  @b router_id b\n}}\n\
             vrrp_script service {{\n  script /bin/true\n  interval 1\n  weight 20\n}}\n\
             vrrp_instance web {{\n  @a state MASTER\n  @b state BACKUP\n  interface eth0\n  \
             virtual_router_id 51\n  @a priority 150\n  @b priority 100\n  {speech}\n  \
             track_script {{\n    service\n  }}\n  virtual_ipaddress {{\n    {}/24\n  }}\n}}\n",
            vip()
        )
    }

    fn keepalived(&self, host: &Host) -> Process {
        self.lab.keepalived_with(host, &self.keepalived_conf())
    }

    /// `vipward import`, then `vipward validate`: what the document tells.
    fn import(&self, host: &Host) -> String {
        let directory = self.lab.directory.path();
        let file = directory.join("keepalived.conf");
        write(&file, &self.keepalived_conf());
        let target = directory.join(format!("{}-imported.yaml", host.name));
        let _ = std::fs::remove_file(&target);
        let run = |arguments: &[&PathBuf], more: &[&str]| {
            let mut command = Command::new(program().path);
            command.args(more).args(arguments);
            let output = command.output().expect("it runs");
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), err)
        };
        let id = ["import", "--config-id", &host.name, "--output"];
        let (code, err) = run(&[&target, &file], &id);
        assert_eq!(code, Some(0), "something is left: {err}");
        let (code, err) = run(&[&target], &["validate"]);
        assert_eq!(code, Some(0), "{err}");
        std::fs::read_to_string(&target).expect("the result")
    }

    fn vipward(&self, host: &Host) -> Agent {
        let configuration = self.import(host);
        self.lab.agent_with(host, &configuration)
    }

    fn interval(&self) -> Duration {
        match self.carrier {
            Carrier::V2Multicast => ms(1_000),
            Carrier::V3Unicast => ms(300),
        }
    }

    /// The pair in service: a has the address, b listens.
    fn in_service(&self) -> (Process, Process) {
        let began = Instant::now();
        let on_a = self.keepalived(&self.a);
        self.a.watch.wait(began, vip(), true, LONG);
        let on_b = self.keepalived(&self.b);
        // Longer than b would wait if it heard nobody.
        std::thread::sleep(self.interval() * 4 + ms(500));
        assert!(!self.b.has(vip()), "b claims beside a");
        (on_a, on_b)
    }

    /// Waits until `host` alone has the address.
    fn settled(&self, host: &Host, since: Instant) {
        host.watch.wait(since, vip(), true, LONG);
        let other = if host.name == "a" { &self.b } else { &self.a };
        wait_until("the other has it no more", LONG, || !other.has(vip()));
    }

    fn probe(&self) -> Prober {
        let prober = Prober::start(&self.client, vip());
        prober.wait_answered(LONG);
        prober
    }

    /// keepalived's planned move: it removes the address first, and the other
    /// waits for Skew_Time. Nobody knows it better than keepalived itself.
    fn planned_move(&self) -> Duration {
        let (on_a, _on_b) = self.in_service();
        let prober = self.probe();
        std::thread::sleep(ms(200));
        let since = Instant::now();
        stop(on_a);
        self.settled(&self.b, since);
        std::thread::sleep(ms(300));
        prober.stop().longest_gap
    }
}

fn stop(mut process: Process) {
    process.signal_alone(Signal::SIGTERM);
    process.wait_exit(LONG);
}

fn leave(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

/// keepalived on both hosts, then b replaced, then a.
fn whole_story(carrier: Carrier) {
    let usual = Pair::new(carrier).planned_move();
    let pair = Pair::new(carrier);
    let (on_a, on_b) = pair.in_service();

    // The Backup first: nobody notices.
    let prober = pair.probe();
    stop(on_b);
    let on_b = pair.vipward(&pair.b);
    on_b.wait_state("web", "backup", LONG);
    std::thread::sleep(pair.interval() * 4);
    assert!(!pair.b.has(vip()), "b claims beside a");
    assert_eq!(on_b.state("web"), "backup");
    prober.stop().assert_nothing_lost("the Backup's turn");

    // Then the Active: one move of keepalived's.
    let prober = pair.probe();
    let since = Instant::now();
    stop(on_a);
    pair.settled(&pair.b, since);
    std::thread::sleep(ms(500));
    let report = prober.stop();
    println!(
        "    keepalived resigned: {:?} without an answer; its own moves: {usual:?}",
        report.longest_gap
    );
    // In unicast vipward knows itself to be the only one, and does not wait.
    if carrier == Carrier::V2Multicast {
        assert!(report.lost > 0, "keepalived lost nothing: {report:?}");
    }
    report.assert_gap(usual);

    // vipward on a is the better one, and takes over from vipward.
    let prober = pair.probe();
    let since = Instant::now();
    let on_a = pair.vipward(&pair.a);
    pair.settled(&pair.a, since);
    std::thread::sleep(ms(500));
    prober
        .stop()
        .assert_nothing_lost("vipward takes over from vipward");
    on_b.wait_state("web", "backup", LONG);

    // From now on planned moves cost nothing.
    let prober = pair.probe();
    let since = Instant::now();
    leave(on_a);
    pair.settled(&pair.b, since);
    std::thread::sleep(ms(300));
    prober.stop().assert_nothing_lost("vipward resigned");
}

/// A host that was replaced is given back to keepalived: vipward resigns, and
/// loses nothing, with keepalived on the other host.
fn way_back(carrier: Carrier) {
    let pair = Pair::new(carrier);
    let (on_a, _on_b) = pair.in_service();
    let since = Instant::now();
    stop(on_a);
    pair.settled(&pair.b, since);
    let on_a = pair.vipward(&pair.a);
    pair.settled(&pair.a, since);
    // Its own announcements are over.
    std::thread::sleep(ms(1_500));

    let prober = pair.probe();
    let since = Instant::now();
    leave(on_a);
    pair.settled(&pair.b, since);
    std::thread::sleep(ms(500));
    let report = prober.stop();
    let address: IpAddr = vip();
    assert!(pair.b.has(address), "keepalived has it");
    report.assert_nothing_lost("vipward resigned");

    let _on_a = pair.keepalived(&pair.a);
    pair.settled(&pair.a, since);
}
