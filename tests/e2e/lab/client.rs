//! A client of an address that is moved on purpose: it probes a thousand times a
//! second, and resolves the address anew a hundred times a second.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::prober::{ProbeReport, Prober};
use super::{Host, LONG, Lab, ROOM, assert_span, ms, stall, wait_until};

/// Everything was answered, and the client knows who answers now.
pub struct Client {
    pub host: Host,
    pub address: IpAddr,
    pub prober: Prober,
}

impl Client {
    pub fn start(lab: &Lab, address: IpAddr) -> Self {
        Self::on(lab.host("client"), address)
    }

    pub fn on(host: Host, address: IpAddr) -> Self {
        let prober = Prober::start_resolving(&host, address);
        prober.wait_answered(LONG);
        Self {
            host,
            address,
            prober,
        }
    }

    /// 50 ms after a move its entry names this host, unless it has none just
    /// now; later only as far as the machine is. By what its kernel told.
    #[track_caller]
    pub fn knows(&self, host: &Host) {
        let moved = Instant::now();
        sleep(ms(50));
        let mac = host.mac("eth0");
        let mut all = Vec::new();
        wait_until("the client's entry to be right", LONG, || {
            all = self.host.watch.taken_for(self.address);
            all.last().is_some_and(|(_, taken)| *taken == mac)
        });
        let wrong = all.iter().rposition(|(_, taken)| *taken != mac);
        let right = all.get(wrong.map_or(0, |place| place + 1));
        let right = right.map_or(moved, |(at, _)| *at);
        let took = right.saturating_duration_since(moved);
        println!("    the client's entry was right after {took:.1?}");
        assert_span("the client's entry", took, ms(0), ms(50));
    }

    /// What is lost was lost while `host` was still deaf to what it had
    /// announced.
    #[track_caller]
    pub fn lost_no_more_than_its_successor(self, lab: &Lab, host: &Host, since: Instant) -> Host {
        let announced = lab.observer.wait(since, "an announcement", LONG, |frame| {
            frame.host == host.name && frame.announces() == Some(self.address)
        });
        let hears = host.watch.wait(since, self.address, true, LONG);
        let deaf = hears.saturating_duration_since(announced.at);
        let report = self.prober.stop();
        println!(
            "    deaf for {deaf:?} after its announcement, {} lost",
            report.lost
        );
        let lost = Duration::from_millis(u64::try_from(report.lost).expect("few"));
        let most = if deaf.is_zero() { deaf } else { deaf + ms(1) };
        assert!(lost <= most, "deaf for {deaf:?}: {report:?}");
        let first = report.first_lost_at.unwrap_or(announced.at);
        assert!(
            first + ms(20) >= announced.at,
            "before it announced: {report:?}"
        );
        self.host
    }

    #[track_caller]
    pub fn lost_nothing(self, lab: &Lab, hosts: [&Host; 2]) -> Host {
        let report = self.prober.stop();
        assert!(report.sent > 1_000 && report.resolved > 50, "{report:?}");
        if let Some(at) = report.first_lost_at {
            let wire = lab.observer.around(at, ms(25));
            let near = |host: &&Host| {
                let times = host.watch.times(at - ms(25), self.address);
                format!("{}: {times:?}", host.name)
            };
            let held: Vec<String> = hosts.iter().map(near).collect();
            panic!(
                "{report:?}\n{held:?}, the first was lost at {at:?}\n{wire}\n{}",
                report.answers.around(at)
            );
        }
        self.host
    }
}

impl ProbeReport {
    /// The longest gap is no longer than `most` and what the machine took at
    /// that time.
    #[track_caller]
    pub fn assert_gap(&self, most: Duration) {
        let stalled = stalled_around(self.longest_gap_at);
        assert!(
            self.longest_gap <= most + ROOM + stalled,
            "the client's gap: more than {most:?} and {ROOM:?} of room (the machine stood still \
             for {stalled:?} about then); {self:?}"
        );
    }

    /// Of an address for which packets are taken until its successor has
    /// announced it: nothing is lost but in what the machine stood still.
    #[track_caller]
    pub fn assert_nothing_lost(&self, what: &str) {
        let Some(first) = self.first_lost_at else {
            return;
        };
        let stalled = stalled_around(first);
        assert!(
            !stalled.is_zero() && self.longest_gap < stalled + ms(5),
            "{what}: {self:?}; the machine stood still for {stalled:?} about then"
        );
    }
}

/// Since half a second before.
fn stalled_around(at: Instant) -> Duration {
    stall::since(at.checked_sub(ms(500)).unwrap_or(at))
}
