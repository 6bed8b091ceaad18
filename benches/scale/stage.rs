//! Two hosts that are joined by as many plain pairs of interfaces as the load
//! needs: e0, e1 and so on.

use crate::lab::namespace::Namespace;
use crate::load::Load;

pub struct Stage {
    pub a: Namespace,
    pub b: Namespace,
    pub interfaces: usize,
}

impl Stage {
    pub fn new(load: Load) -> Self {
        let (a, b) = (Namespace::new("a"), Namespace::new("b"));
        for host in [&a, &b] {
            host.sysctl(&[
                ("ipv6/conf/all/disable_ipv6", "1"),
                ("ipv6/conf/default/disable_ipv6", "1"),
            ]);
            host.ip("link set lo up");
        }
        for number in 0..load.interfaces() {
            a.ip(&format!(
                "link add e{number} type veth peer name e{number} netns {}",
                b.name
            ));
            for (host, last) in [(&a, 1), (&b, 2)] {
                host.ip(&format!("addr add 10.{number}.0.{last}/16 dev e{number}"));
                host.ip(&format!("link set e{number} up"));
            }
        }
        Self {
            a,
            b,
            interfaces: load.interfaces(),
        }
    }
}
