//! Two hosts that share a virtual hardware address, and a client that asks.

use std::net::IpAddr;
use std::time::Instant;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::frame::{Mac, What};
use crate::lab::prober::Prober;
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, stall, vip, vip6};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Ipv4,
    Ipv6,
}

use Carrier::{Ipv4, Ipv6};

impl Carrier {
    pub fn router(self, priority: u8) -> Router {
        let router = Router::new(priority).with("virtual_mac: true");
        match self {
            Ipv4 => router,
            Ipv6 => router.ipv6(),
        }
    }

    /// That clients ask for.
    pub fn address(self) -> IpAddr {
        match self {
            Ipv4 => vip(),
            Ipv6 => vip6(),
        }
    }

    pub fn mac(self) -> Mac {
        match self {
            Ipv4 => Mac([0, 0, 0x5e, 0, 1, 51]),
            Ipv6 => Mac([0, 0, 0x5e, 0, 2, 51]),
        }
    }
}

/// Two hosts and a client that has asked for the address.
pub struct Stage {
    pub lab: Lab,
    pub a: Host,
    pub b: Host,
    pub client: Host,
    pub carrier: Carrier,
    pub began: Instant,
}

impl Stage {
    pub fn new(carrier: Carrier) -> Self {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts(["a", "b", "client"]);
        Self {
            lab,
            a,
            b,
            client,
            carrier,
            began: Instant::now(),
        }
    }

    pub fn agent(&self, host: &Host, priority: u8) -> Agent {
        self.lab.agent(host, &[self.carrier.router(priority)])
    }

    pub fn keepalived(&self, host: &Host, priority: u8) -> Process {
        let mut router = self.carrier.router(priority);
        router.extra.clear();
        let source = if router.v6 { host.v6() } else { host.v4() };
        let text = router.keepalived(source);
        // It leaves to the administrator what our guard does: otherwise its
        // host answers, and asks, by eth0's own hardware address too.
        let quiet = [
            ("ipv4/conf/all/arp_ignore", "1"),
            ("ipv4/conf/all/arp_announce", "2"),
        ];
        host.namespace.sysctl(&quiet);
        let text = text.replacen("  state BACKUP\n", "  state BACKUP\n  use_vmac\n", 1);
        self.lab.keepalived_with(host, &text)
    }

    pub fn wait_held(&self, host: &Host, since: Instant) {
        host.watch.wait(since, self.carrier.address(), true, LONG);
    }

    /// The client has learnt the address by asking for it.
    pub fn prober(&self) -> Prober {
        let prober = Prober::start(&self.client, self.carrier.address());
        prober.wait_answered(LONG);
        let mac = self.carrier.mac().to_string();
        let known = self.client.neighbour(self.carrier.address());
        assert_eq!(known, Some(mac));
        prober
    }

    /// Nothing else than the virtual hardware address was ever learnt, and it
    /// is what is learnt anew.
    pub fn client_never_learnt_another(&self) {
        let (address, mac) = (self.carrier.address(), self.carrier.mac());
        let known = || self.client.neighbour(address);
        assert_eq!(known(), Some(mac.to_string()));
        for _ in 0..3 {
            self.client.ip("neigh flush dev eth0");
            let asking = Prober::start(&self.client, address);
            asking.wait_answered(LONG);
            assert_eq!(known(), Some(mac.to_string()));
        }
        for host in [&self.a, &self.b] {
            let other = self
                .client
                .watch
                .learnt(self.began, address, host.mac("eth0"));
            assert_eq!(other, None, "the client learnt {}'s own", host.name);
        }
    }

    /// Of the address `host` spoke by the virtual hardware address alone; and
    /// its advertisements, but for the claim itself and one right after it,
    /// when the kernel may not yet send by an interface that just came up (more
    /// where somebody holds the lock that it comes up under), and for what it
    /// says when it has let go.
    pub fn spoke_by_it(&self, host: &str, since: Instant) {
        let (address, mac) = (self.carrier.address(), self.carrier.mac());
        let frames = self.lab.observer.frames(since);
        let own = frames.iter().filter(|frame| frame.host == host);
        let mut adverts = Vec::new();
        let mut announced = 0;
        for frame in own {
            match &frame.what {
                What::Advert(_) => adverts.push(frame.source_mac),
                What::Arp(arp) if IpAddr::from(arp.sender) == address => {
                    assert_eq!(arp.sender_mac, mac, "{frame:?}");
                    announced += 1;
                }
                What::NeighbourAdvert(advert) if IpAddr::from(advert.target) == address => {
                    assert_eq!(advert.target_mac, Some(mac), "{frame:?}");
                    announced += 1;
                }
                What::Arp(_) | What::NeighbourAdvert(_) => {}
            }
        }
        assert!(announced > 0, "{host} never spoke of {address}");
        assert!(
            adverts.len() > 2,
            "{host} advertised {} times",
            adverts.len()
        );
        let is_it = |source: &Mac| *source == mac;
        let first = adverts.iter().position(is_it).expect("one by it");
        let last = adverts.iter().rposition(is_it).expect("one by it");
        let between = adverts.iter().take(last).skip(first);
        let after = adverts.len() - last - 1;
        let stalled = stall::since(since).as_nanos();
        let more = stalled.div_ceil(self.carrier.router(100).interval.as_nanos());
        assert!(
            first as u128 <= 2 + more
                && after <= 1
                && between.copied().all(|source| is_it(&source)),
            "{adverts:?}"
        );
    }
}
