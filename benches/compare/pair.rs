//! Two hosts, a client and a gateway, with either program on both hosts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::cluster::Cluster;
use crate::lab::config::{Router, yaml};
use crate::lab::guardian::{children, signal};
use crate::lab::process::Process;
use crate::lab::service::Service;
use crate::lab::{Host, LONG, Lab, vip, wait_until, write};
use crate::plan::{Case, Who};

const BETTER: u8 = 200;
const OTHER: u8 = 100;
/// Enough to fall below the other.
const WEIGHT: i32 = -150;
/// Without a change of the address for this long the pair is at rest.
const REST: Duration = Duration::from_millis(700);

/// Either program.
pub enum Speaker {
    Vipward(Agent),
    Keepalived(Process),
}

impl Speaker {
    pub fn process(&self) -> &Process {
        match self {
            Self::Vipward(agent) => &agent.process,
            Self::Keepalived(process) => process,
        }
    }

    /// Who is told to stop.
    pub fn main(&self) -> u32 {
        self.process().pid()
    }

    /// Who speaks VRRP.
    pub fn speaking(&self) -> u32 {
        match self {
            Self::Vipward(agent) => agent.process.pid(),
            Self::Keepalived(process) => *children(process.pid(), "")
                .first()
                .expect("its VRRP process"),
        }
    }

    /// Who watches over it.
    pub fn other(&self) -> u32 {
        match self {
            Self::Vipward(agent) => agent.guardian(None),
            Self::Keepalived(process) => process.pid(),
        }
    }

    /// All of it. The first one could do something about the death of others.
    pub fn all(&self) -> Vec<u32> {
        let mut all = match self {
            Self::Vipward(_) => vec![self.other(), self.main()],
            Self::Keepalived(_) => vec![self.main()],
        };
        all.extend(children(self.main(), ""));
        let mut seen = Vec::new();
        all.retain(|pid| {
            !seen.contains(pid) && {
                seen.push(*pid);
                true
            }
        });
        all
    }
}

/// What stands in the configuration of a host.
#[derive(Clone)]
struct Wanted {
    priority: u8,
    addresses: Vec<&'static str>,
}

pub struct Pair {
    pub lab: Lab,
    pub a: Host,
    pub b: Host,
    pub client: Host,
    /// Held, as it answers for the peer link's witness.
    _gateway: Host,
    pub who: Who,
    pub case: Case,
    pub interval: Duration,
    pub service: Service,
    cluster: Option<Cluster>,
    speakers: Vec<Speaker>,
}

impl Pair {
    pub fn new(who: Who, case: Case, interval: Duration) -> Self {
        let lab = Lab::new();
        let ([a, b], gateway) = lab.nodes(["a", "b"]);
        let client = lab.host("client");
        let linked = who == Who::Linked;
        Self {
            cluster: linked.then(|| Cluster::of(&lab, &[&a, &b])),
            service: lab.service("served"),
            speakers: Vec::new(),
            lab,
            a,
            b,
            client,
            _gateway: gateway,
            who,
            case,
            interval,
        }
    }

    pub fn hosts(&self) -> [&Host; 2] {
        [&self.a, &self.b]
    }

    /// Of host a.
    pub fn speaker(&self) -> &Speaker {
        self.speakers.first().expect("started")
    }

    /// Starts both, and waits until a is Active, b its Backup, and all is at
    /// rest.
    pub fn settle(&mut self) {
        for host in [&self.a, &self.b] {
            let text = self.text(host, &Self::at_first(host));
            let speaker = match self.who {
                Who::Keepalived => Speaker::Keepalived(self.lab.keepalived_with(host, &text)),
                Who::Vipward | Who::Linked => Speaker::Vipward(self.lab.agent_with(host, &text)),
            };
            self.speakers.push(speaker);
        }
        wait_until("a is Active", LONG, || self.a.has(vip()));
        if let (Who::Linked, [Speaker::Vipward(first), Speaker::Vipward(other)]) =
            (self.who, self.speakers.as_slice())
        {
            for (agent, node, state) in [(first, "b", "backup"), (other, "a", "active")] {
                agent.wait_node(node, "that tells of web", |node| {
                    node["instances"][0]["state"] == state
                });
            }
        }
        wait_until("a alone has the address, at rest", LONG, || {
            let since = Instant::now().checked_sub(REST).expect("a moment ago");
            let changed = |host: &&Host| !host.watch.times(since, vip()).is_empty();
            let calm = !self.hosts().iter().any(changed);
            calm && self.a.has(vip()) && !self.b.has(vip())
        });
        // The other processes of either are there.
        for speaker in &self.speakers {
            speaker.other();
            speaker.speaking();
        }
    }

    /// Waits for this part of an interval after an advertisement of a: what
    /// silence costs depends on it, so it is the same for all.
    pub fn wait_until_part(&self, part: f64) {
        let advert = self
            .lab
            .observer
            .wait_advert(Instant::now(), "a", BETTER, LONG);
        let at = advert.at + self.interval.mul_f64(part);
        sleep(at.saturating_duration_since(Instant::now()));
    }

    fn at_first(host: &Host) -> Wanted {
        Wanted {
            priority: if host.name == "a" { BETTER } else { OTHER },
            addresses: vec!["192.0.2.100/24"],
        }
    }

    /// One address more.
    pub fn reload_with_another(&self, host: &Host) {
        let mut wanted = Self::at_first(host);
        wanted.addresses.push("192.0.2.101/24");
        self.reload(host, &wanted);
    }

    /// How keepalived is told to give an instance up.
    pub fn reload_below_the_other(&self, host: &Host) {
        let mut wanted = Self::at_first(host);
        wanted.priority = OTHER / 2;
        self.reload(host, &wanted);
    }

    fn reload(&self, host: &Host, wanted: &Wanted) {
        let text = self.text(host, wanted);
        let place = if host.name == "a" { 0 } else { 1 };
        match self.speakers.get(place).expect("started") {
            Speaker::Vipward(agent) => agent.reload_with(&text),
            Speaker::Keepalived(process) => {
                let file = format!("keepalived-{}.conf", host.name);
                write(&self.lab.directory.path().join(file), &text);
                signal(process.pid(), Signal::SIGHUP);
            }
        }
    }

    /// A whole configuration.
    fn text(&self, host: &Host, wanted: &Wanted) -> String {
        let interval = self.interval.as_millis().try_into().expect("short");
        let mut router = Router::new(wanted.priority)
            .interval_ms(interval)
            .addresses(&wanted.addresses);
        if self.case == Case::KilledUnicast {
            let peer = if host.name == "a" { &self.b } else { &self.a };
            router = router.peers(&[peer.v4()]);
        }
        let weight = match (self.case, host.name.as_str()) {
            (Case::CheckFault, "a") => Some(0),
            (Case::CheckWeight, "a") => Some(WEIGHT),
            _ => None,
        };
        match self.who {
            Who::Keepalived => self.keepalived(host, &router, weight),
            Who::Vipward | Who::Linked => self.vipward(host, router, weight),
        }
    }

    fn vipward(&self, host: &Host, router: Router, weight: Option<i32>) -> String {
        let (router, checks) = match weight {
            None => (router, String::new()),
            Some(weight) => {
                let listed = match weight {
                    0 => "checks: [served]".to_owned(),
                    _ => format!("checks: [{{ name: served, weight: {weight} }}]"),
                };
                let check = self
                    .service
                    .check("served", "interval: 1s, timeout: 5s, rise: 1, fall: 1");
                (router.with(&listed), format!("checks:\n{check}"))
            }
        };
        let cluster = self.cluster.as_ref().map(Cluster::section);
        yaml(&host.name, &[router]) + &checks + &cluster.unwrap_or_default()
    }

    fn keepalived(&self, host: &Host, router: &Router, weight: Option<i32>) -> String {
        let text = router.keepalived(host.v4());
        let Some(weight) = weight else {
            return text;
        };
        let security = "global_defs {\n  enable_script_security\n  script_user root\n";
        let script = self.service.script.display();
        let block = format!(
            "vrrp_script served {{\n  script {script}\n  interval 1\n  timeout 5\n  \
             weight {weight}\n  rise 1\n  fall 1\n}}\nvrrp_instance"
        );
        let text =
            text.replacen("global_defs {\n", security, 1)
                .replacen("vrrp_instance", &block, 1);
        let end = text.rfind('}').expect("a block");
        let (before, _) = text.split_at(end);
        format!("{before}  track_script {{\n    served\n  }}\n}}\n")
    }
}
