//! One description of a virtual router, written in the words of each
//! implementation.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Router {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    pub priority: u8,
    pub version: u8,
    pub v6: bool,
    pub interval: Duration,
    /// With prefix lengths; those of the other family ride along.
    pub addresses: Vec<String>,
    /// Empty: multicast.
    pub peers: Vec<IpAddr>,
    pub preempt: Preempt,
    /// Further lines for vipward, each `key: value`.
    pub extra: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    Yes,
    No,
    After(Duration),
}

impl Router {
    /// VRRPv3 over IPv4 multicast, 300 ms, 192.0.2.100/24 on eth0.
    pub fn new(priority: u8) -> Self {
        Self {
            name: "web".to_owned(),
            interface: "eth0".to_owned(),
            vrid: 51,
            priority,
            version: 3,
            v6: false,
            interval: Duration::from_millis(300),
            addresses: vec!["192.0.2.100/24".to_owned()],
            peers: Vec::new(),
            preempt: Preempt::Yes,
            extra: Vec::new(),
        }
    }

    pub fn interval_ms(mut self, ms: u64) -> Self {
        self.interval = Duration::from_millis(ms);
        self
    }

    /// Version 2, which knows whole seconds only.
    pub fn version_2(mut self) -> Self {
        self.version = 2;
        self.interval_ms(1000)
    }

    /// IPv6, with a link-local address first as RFC 9568 wants it.
    pub fn ipv6(mut self) -> Self {
        self.v6 = true;
        self.addresses(&["fe80::51/64", "2001:db8::100/64"])
    }

    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub fn peers(mut self, peers: &[IpAddr]) -> Self {
        self.peers = peers.to_vec();
        self
    }

    pub fn preempt(mut self, preempt: Preempt) -> Self {
        self.preempt = preempt;
        self
    }

    /// A further line for vipward.
    pub fn with(mut self, line: &str) -> Self {
        self.extra.push(line.to_owned());
        self
    }

    /// ((256 - priority) x interval) / 256; RFC 3768's has no interval.
    pub fn skew(&self) -> Duration {
        let interval = if self.version == 2 {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        interval * (256 - u32::from(self.priority)) / 256
    }

    /// What a Backup of ours waits when its Active resigns: nothing where
    /// there is nobody else.
    pub fn haste(&self) -> Duration {
        match self.peers.len() {
            1 => Duration::ZERO,
            _ => self.skew(),
        }
    }

    /// What a Backup of ours waits for an Active that it has heard.
    pub fn patience(&self) -> Duration {
        let wait = match self.peers.len() {
            1 => self.skew().min(self.interval / 10),
            _ => self.skew(),
        };
        self.interval * 3 + wait
    }

    /// Active_Down_Interval.
    pub fn down_interval(&self) -> Duration {
        self.interval * 3 + self.skew()
    }

    /// `address_lease: auto`, with three intervals of patience.
    pub fn lease(&self) -> Duration {
        let below = (self.interval * 3).saturating_sub(Duration::from_secs(1));
        let least = (self.interval + Duration::from_secs(1)).max(Duration::from_secs(2));
        let whole = below.max(least);
        Duration::from_secs(whole.as_secs() + u64::from(whole.subsec_nanos() > 0))
    }

    /// The addresses that are listed in advertisements.
    pub fn advertised(&self) -> Vec<IpAddr> {
        self.parsed()
            .into_iter()
            .filter(|a| a.is_ipv6() == self.v6)
            .collect()
    }

    /// All addresses, without prefix lengths.
    pub fn parsed(&self) -> Vec<IpAddr> {
        self.addresses
            .iter()
            .map(|text| {
                let address = text.split('/').next().unwrap_or_default();
                address.parse().expect("an address")
            })
            .collect()
    }

    /// This instance as it stands under `instances:`.
    pub fn yaml_instance(&self) -> String {
        let mut text = format!("  {}:\n", self.name);
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "    {key}: {value}");
        };
        line("interface", self.interface.clone());
        line("vrid", self.vrid.to_string());
        line("priority", self.priority.to_string());
        line("version", self.version.to_string());
        line("family", if self.v6 { "ipv6" } else { "ipv4" }.to_owned());
        line("advert_interval", milliseconds(self.interval));
        let quoted: Vec<_> = self.addresses.iter().map(|a| format!("\"{a}\"")).collect();
        line("addresses", format!("[{}]", quoted.join(", ")));
        if !self.peers.is_empty() {
            let quoted: Vec<_> = self.peers.iter().map(|a| format!("\"{a}\"")).collect();
            line("unicast_peers", format!("[{}]", quoted.join(", ")));
        }
        match self.preempt {
            Preempt::Yes => {}
            Preempt::No => line("preempt", "false".to_owned()),
            Preempt::After(delay) => line("preempt", milliseconds(delay)),
        }
        for extra in &self.extra {
            let _ = writeln!(text, "    {extra}");
        }
        text
    }

    /// A vrrpd.conf. FRR advertises what is on its macvlan interfaces.
    pub fn frr(&self) -> String {
        let mut text = format!("log stdout\ninterface {}\n", self.interface);
        let vrrp = format!(" vrrp {}", self.vrid);
        let _ = writeln!(text, "{vrrp} version {}", self.version);
        let _ = writeln!(text, "{vrrp} priority {}", self.priority);
        let interval = self.interval.as_millis();
        let _ = writeln!(text, "{vrrp} advertisement-interval {interval}");
        for address in self.parsed() {
            let _ = writeln!(text, "{vrrp} ip {address}");
        }
        text
    }

    /// A keepalived.conf.
    pub fn keepalived(&self, source: IpAddr) -> String {
        let mut text = format!("global_defs {{\n  vrrp_version {}\n}}\n", self.version);
        let _ = writeln!(text, "vrrp_instance {} {{", self.name);
        let mut line = |what: String| {
            let _ = writeln!(text, "  {what}");
        };
        line("state BACKUP".to_owned());
        line(format!("interface {}", self.interface));
        line(format!("virtual_router_id {}", self.vrid));
        line(format!("priority {}", self.priority));
        line(format!("version {}", self.version));
        line(format!("advert_int {}", self.interval.as_secs_f64()));
        if self.v6 {
            line("native_ipv6".to_owned());
        }
        match self.preempt {
            Preempt::Yes => {}
            Preempt::No => line("nopreempt".to_owned()),
            Preempt::After(delay) => line(format!("preempt_delay {}", delay.as_secs_f64())),
        }
        if !self.peers.is_empty() {
            line(format!("unicast_src_ip {source}"));
            let peers: Vec<_> = self.peers.iter().map(|a| format!("\n    {a}")).collect();
            line(format!("unicast_peer {{{}\n  }}", peers.join("")));
        }
        let (own, riding): (Vec<&String>, Vec<&String>) = self
            .addresses
            .iter()
            .partition(|address| address.contains(':') == self.v6);
        for (block, list) in [
            ("virtual_ipaddress", own),
            ("virtual_ipaddress_excluded", riding),
        ] {
            if !list.is_empty() {
                let lines: String = list.iter().map(|a| format!("\n    {a}")).collect();
                line(format!("{block} {{{lines}\n  }}"));
            }
        }
        text.push_str("}\n");
        text
    }
}

fn milliseconds(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

/// A whole vipward configuration.
pub fn yaml(node: &str, routers: &[Router]) -> String {
    let mut text = format!("node: {node}\ninstances:\n");
    for router in routers {
        text.push_str(&router.yaml_instance());
    }
    text
}
