//! Things that go wrong on a host: processes that stop, advertisements that
//! cannot leave, somebody else's hands on the addresses.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::agent::Agent;
use super::guardian::{lives, signal};
use super::{Host, tools};

/// Processes that stand still. They go on when this is dropped, if they live.
pub struct Frozen {
    pids: Vec<u32>,
}

impl Frozen {
    pub fn these(pids: &[u32]) -> Self {
        for pid in pids {
            signal(*pid, Signal::SIGSTOP);
        }
        Self {
            pids: pids.to_vec(),
        }
    }

    /// When they were told to go on.
    pub fn go_on(self) -> Instant {
        Instant::now()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in self.pids.iter().filter(|pid| lives(**pid)) {
            signal(*pid, Signal::SIGCONT);
        }
    }
}

impl Agent {
    pub fn freeze(&self) -> Frozen {
        Frozen::these(&[self.process.pid()])
    }

    pub fn freeze_with_guardian(&self) -> Frozen {
        let guardian = self.guardian(None);
        Frozen::these(&[guardian, self.process.pid()])
    }
}

impl Host {
    /// VRRP cannot leave the host any more (EPERM). Everything else can, and
    /// everything comes in.
    pub fn block_advertisements(&self) {
        self.nft("add table inet blocked");
        self.nft("add chain inet blocked out { type filter hook output priority 0 ; }");
        self.nft("add rule inet blocked out meta l4proto 112 drop");
    }

    pub fn let_advertisements_out(&self) {
        self.nft("delete table inet blocked");
    }

    #[track_caller]
    pub fn nft(&self, words: &str) {
        let program = tools::nft().expect("asked for when the trial began");
        let mut command = self.namespace.command(&program);
        let output = command.arg(words).output().expect("nft can be started");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "nft {words}: {complaint}");
    }

    /// Somebody deletes `address`, if it is there at this moment.
    pub fn take_away(&self, address: IpAddr) -> bool {
        let Some(entry) = self.address_entry(address) else {
            return false;
        };
        let network = format!("{address}/{}", entry["prefixlen"]);
        let mut command = self.namespace.command(&tools::ip().expect("ip"));
        command.args(["addr", "del", &network, "dev", "eth0"]);
        command.output().is_ok_and(|output| output.status.success())
    }
}

/// Adds and removes addresses on an interface of its own, that is a netlink
/// event for each, from a process of its own.
pub struct Restless {
    ip: Child,
    words: Option<ChildStdin>,
}

impl Restless {
    /// How many addresses take turns.
    const ADDRESSES: usize = 10;

    pub fn on(host: &Host) -> Self {
        host.ip("link add restless type veth peer name other-end");
        let mut command = host.namespace.command(&tools::ip().expect("ip"));
        command.args(["-force", "-batch", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut ip = command.spawn().expect("ip can be started");
        let words = ip.stdin.take();
        Self { ip, words }
    }

    /// One of the addresses, to count its changes.
    pub fn one_of_them() -> IpAddr {
        IpAddr::from([203, 0, 113, 1])
    }

    /// So many a second for so long; of each address as many came as went.
    pub fn bustle(&mut self, per_second: u32, span: Duration) {
        let words = self.words.as_mut().expect("it was not ended");
        let began = Instant::now();
        let mut done = 0_u32;
        while began.elapsed() < span {
            let due = began.elapsed().as_secs_f64() * f64::from(per_second);
            let mut text = String::new();
            while f64::from(done) < due {
                for kind in ["add", "del"] {
                    for number in 1..=Self::ADDRESSES {
                        text.push_str(&format!("addr {kind} 203.0.113.{number}/32 dev restless\n"));
                    }
                }
                done += 2 * u32::try_from(Self::ADDRESSES).unwrap_or(0);
            }
            words.write_all(text.as_bytes()).expect("ip reads");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until all was done.
    pub fn end(mut self) {
        self.words = None;
        let _ = self.ip.wait();
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        let _ = self.ip.kill();
        let _ = self.ip.wait();
    }
}
