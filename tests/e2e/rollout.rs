//! A new address list comes to a pair, one host at a time: nobody but the
//! Active may hold anything meanwhile. With keepalived as the other host that
//! has its limits, which docs/configuration.md tells operators.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, wait_until, write};
use crate::{Needs, trial};

/// Between the two hosts' turns: more than twice the time in which a Backup
/// loses patience (1.1 s).
const BETWEEN: Duration = Duration::from_millis(2_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vipward,
    Keepalived,
    /// With `vrrp_skip_check_adv_addr`.
    KeepalivedSkipping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    ActiveFirst,
    BackupFirst,
    /// The Backup is stopped before and started after.
    BackupStopped,
}

/// How the second address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Listed,
    /// `advertise: false`; keepalived's `virtual_ipaddress_excluded`.
    Unlisted,
}

/// The second address comes, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
}

#[derive(Clone, Copy, Debug)]
struct Rollout {
    active: Kind,
    backup: Kind,
    order: Order,
    form: Form,
    change: Change,
}

pub fn trials() -> Vec<Trial> {
    use Kind::*;
    use Order::*;
    let safe = [
        (Vipward, Vipward, ActiveFirst, Form::Listed),
        (Vipward, Vipward, BackupFirst, Form::Listed),
        (Keepalived, Vipward, ActiveFirst, Form::Listed),
        (Keepalived, Vipward, BackupFirst, Form::Listed),
        (Vipward, Keepalived, ActiveFirst, Form::Unlisted),
        (Vipward, Keepalived, BackupFirst, Form::Unlisted),
        (Vipward, Keepalived, BackupStopped, Form::Listed),
        (Vipward, KeepalivedSkipping, ActiveFirst, Form::Listed),
    ];
    // keepalived takes over from what it drops.
    let unsafe_ones = [
        (Vipward, Keepalived, ActiveFirst, Form::Listed),
        (Vipward, Keepalived, BackupFirst, Form::Listed),
        (Vipward, KeepalivedSkipping, BackupFirst, Form::Listed),
    ];
    let mut trials = Vec::new();
    let cases = safe.map(|case| (case, "one_owner", one_owner as fn(&Rollout)));
    let others = unsafe_ones.map(|case| (case, "two_owners", two_owners as fn(&Rollout)));
    for ((active, backup, order, form), outcome, judge) in cases.into_iter().chain(others) {
        for change in [Change::Added, Change::Removed] {
            let rollout = Rollout {
                active,
                backup,
                order,
                form,
                change,
            };
            let name =
                format!("rollout_{outcome}_{active:?}_{backup:?}_{order:?}_{form:?}_{change:?}");
            let needs = match (active, backup) {
                (Vipward, Vipward) => Needs::Nothing,
                _ => Needs::Keepalived,
            };
            trials.push(trial(name.to_lowercase(), needs, move || judge(&rollout)));
        }
    }
    trials
}

enum Speaker {
    Agent(Agent),
    Keepalived(Process, PathBuf),
}

struct Side {
    host: Host,
    kind: Kind,
    priority: u8,
    speaker: Option<Speaker>,
}

impl Side {
    fn text(&self, addresses: usize, form: Form) -> String {
        let both = ["192.0.2.100/24", "192.0.2.101/24"];
        let all = both.get(..addresses).unwrap_or_default();
        let router = Router::new(self.priority).addresses(all);
        if self.kind == Kind::Vipward {
            let text = yaml(&self.host.name, &[router]);
            return match form {
                Form::Listed => text,
                Form::Unlisted => text.replace(
                    "\"192.0.2.101/24\"",
                    "{ address: 192.0.2.101/24, advertise: false }",
                ),
            };
        }
        let mut text = router.keepalived(self.host.v4());
        if form == Form::Unlisted && addresses == 2 {
            let other = "\n    192.0.2.101/24";
            text = text.replace(
                &format!("{other}\n  }}"),
                &format!("\n  }}\n  virtual_ipaddress_excluded {{{other}\n  }}"),
            );
        }
        if self.kind == Kind::KeepalivedSkipping {
            let skipping = "global_defs {\n  vrrp_skip_check_adv_addr\n";
            text = text.replacen("global_defs {\n", skipping, 1);
        }
        text
    }

    fn start(&mut self, lab: &Lab, addresses: usize, form: Form) {
        let text = self.text(addresses, form);
        self.speaker = Some(match self.kind {
            Kind::Vipward => Speaker::Agent(lab.agent_with(&self.host, &text)),
            Kind::Keepalived | Kind::KeepalivedSkipping => {
                let file = format!("keepalived-{}.conf", self.host.name);
                let file = lab.directory.path().join(file);
                Speaker::Keepalived(lab.keepalived_with(&self.host, &text), file)
            }
        });
    }

    fn stop(&mut self) {
        match self.speaker.take().expect("started") {
            Speaker::Agent(mut agent) => {
                agent.signal(Signal::SIGTERM);
                agent.process.wait_exit(LONG);
            }
            Speaker::Keepalived(mut process, _) => {
                process.signal_alone(Signal::SIGTERM);
                process.wait_exit(LONG);
            }
        }
    }

    fn reload(&self, addresses: usize, form: Form) {
        let text = self.text(addresses, form);
        match self.speaker.as_ref().expect("started") {
            Speaker::Agent(agent) => {
                write(&agent.config, &text);
                let answer = agent.ask(&["reload"]);
                assert!(answer.status.success(), "{answer:?}");
            }
            Speaker::Keepalived(process, file) => {
                write(file, &text);
                process.signal_alone(Signal::SIGHUP);
            }
        }
    }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// For how long `address` was on both hosts, from `since` on, when a alone
/// might have it then.
fn on_both(pair: [&Side; 2], address: IpAddr, since: Instant, mut on_a: bool) -> Duration {
    let mut changes = Vec::new();
    for (side, is_a) in pair.into_iter().zip([true, false]) {
        let times = side.host.watch.times(since, address);
        changes.extend(times.into_iter().map(|(at, present)| (at, is_a, present)));
    }
    changes.sort();
    changes.push((Instant::now(), false, false));
    let (mut on_b, mut from, mut both) = (false, since, Duration::ZERO);
    for (at, is_a, present) in changes {
        if on_a && on_b {
            both += at - from;
        }
        from = at;
        match is_a {
            true => on_a = present,
            false => on_b = present,
        }
    }
    both
}

/// What became of it.
struct Outcome {
    lab: Lab,
    a: Side,
    b: Side,
    since: Instant,
    /// The other host's turn.
    second: Instant,
    /// How long each address was on both hosts.
    both: [Duration; 2],
}

impl Rollout {
    /// a is Active, b listens; then the list of each is changed in turn.
    fn carry_out(&self) -> Outcome {
        let (from, to) = match self.change {
            Change::Added => (1, 2),
            Change::Removed => (2, 1),
        };
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let side = |host, kind, priority| Side {
            host,
            kind,
            priority,
            speaker: None,
        };
        let mut a = side(a, self.active, 200);
        let mut b = side(b, self.backup, 100);
        let began = Instant::now();
        a.start(&lab, from, self.form);
        a.host.watch.wait(began, address(100), true, LONG);
        b.start(&lab, from, self.form);
        // Long enough to have spoken, had it not heard.
        thread::sleep(BETWEEN);
        let since = Instant::now();
        match self.order {
            Order::ActiveFirst => a.reload(to, self.form),
            Order::BackupFirst => b.reload(to, self.form),
            Order::BackupStopped => {
                b.stop();
                a.reload(to, self.form);
            }
        }
        thread::sleep(BETWEEN);
        let second = Instant::now();
        match self.order {
            Order::ActiveFirst => b.reload(to, self.form),
            Order::BackupFirst => a.reload(to, self.form),
            Order::BackupStopped => b.start(&lab, to, self.form),
        }
        wait_until("a has the new list", LONG, || {
            a.host.has(address(101)) == (to == 2)
        });
        wait_until("b has nothing", LONG, || {
            !b.host.has(address(100)) && !b.host.has(address(101))
        });
        thread::sleep(BETWEEN);
        let both = [(100, true), (101, from == 2)];
        let both = both.map(|(n, on_a)| on_both([&a, &b], address(n), since, on_a));
        Outcome {
            both,
            lab,
            a,
            b,
            since,
            second,
        }
    }
}

impl Outcome {
    /// a never wavered, and in the end it alone has what it should.
    fn a_stayed(&self) {
        assert_eq!(self.a.host.watch.times(self.since, address(100)), []);
        let spoken = self.lab.observer.adverts(self.since, "a");
        assert!(spoken.iter().all(|(_, a)| a.priority == 200), "{spoken:?}");
        let late = self.lab.observer.adverts(self.second + BETWEEN, "b");
        assert!(late.is_empty(), "b goes on: {late:?}");
    }
}

fn one_owner(rollout: &Rollout) {
    let outcome = rollout.carry_out();
    outcome.a_stayed();
    assert_eq!(outcome.both, [Duration::ZERO; 2]);
    let spoken = outcome.lab.observer.adverts(outcome.since, "b");
    assert!(spoken.is_empty(), "b spoke: {spoken:?}");
    for n in [100, 101] {
        assert_eq!(outcome.b.host.watch.times(outcome.since, address(n)), []);
    }
}

/// Whether keepalived holds what a has depends on its version: since 2.3.3 it
/// hears an Active with another list. What is certain: a stays, and with equal
/// lists all is well again.
fn two_owners(rollout: &Rollout) {
    let outcome = rollout.carry_out();
    outcome.a_stayed();
    println!("{rollout:?}: on both hosts for {:?}", outcome.both);
}
