//! A hundred faults in a row, drawn from a seed, on both hosts of a pair;
//! then a healthy pair, and nothing left of it when both are stopped.
//!
//! `VIPWARD_FAULTS_SEED=7 cargo test --test e2e -- failures_100_random` draws
//! others, or the same again.

use std::env;
use std::fmt;
use std::net::IpAddr;
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::{LATE_EXPIRY, SOON};
use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::fault::Frozen;
use crate::lab::guardian::{catches, said, signal};
use crate::lab::outage::Outage;
use crate::lab::{Host, LONG, Lab, assert_span, ms, tools, vip, vip6, wait_until};
use crate::{Needs, trial};

#[path = "../../../core/tests/simulation/dice.rs"]
#[allow(dead_code, reason = "the simulation throws more of them")]
mod dice;

use dice::Dice;

const FAULTS: usize = 100;

pub fn trials() -> Vec<Trial> {
    vec![trial("failures_100_random_ones", Needs::Nothing, hundred)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillAgent,
    KillGuardian,
    KillBoth,
    /// The guardian stands still while its agent dies.
    KillAgentOfFrozenGuardian,
    FreezeAgent,
    FreezeBoth,
    Stop,
    Reload,
    /// Where there is `nft`; otherwise nothing.
    Block,
    /// Every 50 ms while it lasts.
    TakeAway,
    CutCarrier,
    Silence,
    LinkDown,
    Unplug,
}

const ALL: [Fault; 14] = [
    Fault::KillAgent,
    Fault::KillGuardian,
    Fault::KillBoth,
    Fault::KillAgentOfFrozenGuardian,
    Fault::FreezeAgent,
    Fault::FreezeBoth,
    Fault::Stop,
    Fault::Reload,
    Fault::Block,
    Fault::TakeAway,
    Fault::CutCarrier,
    Fault::Silence,
    Fault::LinkDown,
    Fault::Unplug,
];

/// One fault on one host; after `lasts` it is mended, and after `rest` the
/// next one comes, whatever has become of this one by then.
#[derive(Clone, Copy, Debug)]
struct Deed {
    fault: Fault,
    host: usize,
    lasts: Duration,
    rest: Duration,
}

fn plan(seed: u64) -> Vec<Deed> {
    let mut dice = Dice::new(seed, "faults");
    let mut one = || Deed {
        fault: dice.pick(&ALL),
        host: dice.index(2),
        lasts: dice.span(ms(0), ms(700)),
        rest: dice.span(ms(0), ms(300)),
    };
    (0..FAULTS).map(|_| one()).collect()
}

/// What was done so far, for whoever has to find out what went wrong.
struct Story {
    seed: u64,
    began: Instant,
    told: Vec<(Duration, Deed)>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, deed) in &self.told {
            let host = ["a", "b"][deed.host];
            let (at, fault, lasts) = (at.as_secs_f64(), deed.fault, deed.lasts);
            writeln!(f, "  {at:>7.3} s  {host} {fault:?} for {lasts:.0?}")?;
        }
        let command = "cargo test --test e2e -- failures_100_random";
        writeln!(f, "again: VIPWARD_FAULTS_SEED={} {command}", self.seed)
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if panicking() {
            eprintln!("---- the faults ----\n{self}");
        }
    }
}

struct Site {
    host: Host,
    router: Router,
    agent: Agent,
}

impl Site {
    fn new(lab: &Lab, host: Host, priority: u8) -> Self {
        let router = Router::new(priority)
            .interval_ms(100)
            .addresses(&["192.0.2.100/24", "2001:db8::100/64"]);
        let agent = lab.agent(&host, std::slice::from_ref(&router));
        Self {
            host,
            router,
            agent,
        }
    }

    /// As a service manager does.
    fn start_again(&mut self, lab: &Lab) {
        self.agent = lab.agent(&self.host, std::slice::from_ref(&self.router));
    }

    /// All that is on eth0, but what the kernel gives it.
    fn addresses(&self) -> Vec<String> {
        let links = self.host.namespace.ip_json("addr show dev eth0");
        let all = links[0]["addr_info"].as_array().cloned();
        let texts = all.unwrap_or_default().into_iter();
        let mut all: Vec<String> = texts
            .filter(|entry| entry["scope"] != "link")
            .filter_map(|entry| Some(entry["local"].as_str()?.to_owned()))
            .collect();
        all.sort();
        all
    }

    /// Its own addresses and, if it `holds`, the virtual ones.
    fn expected(&self, holds: bool) -> Vec<String> {
        let mut all = vec![self.host.v4(), self.host.v6()];
        if holds {
            all.extend([vip(), vip6()]);
        }
        let mut all: Vec<String> = all.iter().map(IpAddr::to_string).collect();
        all.sort();
        all
    }

    fn carry_out(&mut self, lab: &Lab, deed: Deed) {
        let last = || sleep(deed.lasts);
        match deed.fault {
            Fault::KillAgent => {
                self.agent.process.kill();
                last();
                self.start_again(lab);
            }
            Fault::KillGuardian => {
                signal(self.agent.guardian(None), Signal::SIGKILL);
                last();
            }
            Fault::KillBoth => {
                self.agent.kill_with_guardian();
                last();
                self.start_again(lab);
            }
            Fault::KillAgentOfFrozenGuardian => {
                let frozen = Frozen::these(&[self.agent.guardian(None)]);
                self.agent.process.kill();
                last();
                frozen.go_on();
                self.start_again(lab);
            }
            Fault::FreezeAgent => {
                let _frozen = self.agent.freeze();
                last();
            }
            Fault::FreezeBoth => {
                let _frozen = self.agent.freeze_with_guardian();
                last();
            }
            Fault::Stop => {
                self.agent.signal(Signal::SIGTERM);
                self.agent.process.wait_exit(LONG);
                last();
                self.start_again(lab);
            }
            Fault::Reload => {
                // Nobody sends it to a program that has just been executed.
                wait_until("it to listen for SIGHUP", LONG, || {
                    catches(self.agent.process.pid(), Signal::SIGHUP)
                });
                self.agent.signal(Signal::SIGHUP);
                last();
            }
            Fault::Block => {
                if tools::nft().is_ok() {
                    self.host.block_advertisements();
                    last();
                    self.host.let_advertisements_out();
                }
            }
            Fault::TakeAway => {
                let began = Instant::now();
                while began.elapsed() < deed.lasts {
                    self.host.take_away(vip());
                    sleep(ms(50));
                }
            }
            Fault::CutCarrier => {
                lab.cut_carrier(&self.host);
                last();
                lab.heal(&self.host);
            }
            Fault::Silence => {
                lab.silence(&self.host);
                last();
                lab.heal(&self.host);
            }
            Fault::LinkDown => {
                self.host.ip("link set eth0 down");
                last();
                self.host.ip("link set eth0 up");
            }
            Fault::Unplug => {
                lab.unplug(&self.host, "eth0");
                last();
                lab.plug(&self.host, "eth0");
            }
        }
        sleep(deed.rest);
    }
}

fn hundred() {
    let seed = match env::var("VIPWARD_FAULTS_SEED") {
        Ok(text) => text.parse().expect("VIPWARD_FAULTS_SEED is a number"),
        Err(_) => 1,
    };
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let mut sites = [Site::new(&lab, a, 200), Site::new(&lab, b, 100)];
    healthy(&sites);
    let mut story = Story {
        seed,
        began: Instant::now(),
        told: Vec::new(),
    };
    for deed in plan(seed) {
        story.told.push((story.began.elapsed(), deed));
        sites[deed.host].carry_out(&lab, deed);
    }
    let mended = Instant::now();
    healthy(&sites);
    let took = mended.elapsed();
    let [a, b] = &sites;
    let outage = Outage::since(story.began, [&a.host, &b.host], vip(), None);
    lab.tell(
        &format!("{FAULTS} faults in {:.0?}", mended - story.began),
        &outage,
    );
    println!(
        "    healthy {took:.2?} after the last; the longest double: {:.2?}",
        outage.both_longest
    );
    // Not for longer than a lease, or than it took to mend a cut network.
    let lease = a.router.lease() + LATE_EXPIRY + SOON;
    assert_span("the longest double", outage.both_longest, ms(0), lease);
    // Nothing moves any more, and leases are renewed.
    let calm = Instant::now();
    wait_until("a while", LONG, || {
        lab.observer.adverts(calm, "a").len() >= 30
    });
    for site in &sites {
        assert_eq!(site.host.watch.times(calm, vip()), []);
    }
    healthy(&sites);
    leave_nothing(&mut sites);
    drop(story);
}

/// The better one is Active and has the addresses, the other one has none.
fn healthy(sites: &[Site; 2]) {
    let well = |site: &Site, state| {
        let instance = site.agent.instance("web");
        let troubled = instance["obstacles"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        instance["state"] == state
            && !troubled
            && site.addresses() == site.expected(state == "active")
    };
    let [a, b] = sites;
    wait_until("a healthy pair", LONG, || {
        well(a, "active") && well(b, "backup")
    });
}

fn leave_nothing(sites: &mut [Site; 2]) {
    for site in sites.iter_mut() {
        site.agent.signal(Signal::SIGTERM);
        let (_, status) = site.agent.process.wait_exit(LONG);
        assert!(status.success(), "{status}");
        wait_until("its own addresses alone", SOON, || {
            site.addresses() == site.expected(false)
        });
        assert_eq!(said(&site.host.cleanup(&site.agent)), "nothing was left\n");
    }
}
