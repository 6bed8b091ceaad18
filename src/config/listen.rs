//! An address with a port, on which something listens.

use std::net::{IpAddr, SocketAddr};

use super::fault::{Finding, quoted};
use super::read::{self, Read};
use super::yaml::{Node, Value};

/// `"127.0.0.1:9852"`. `usual` is what messages propose, `port_help` why it
/// needs a port.
pub(super) fn address(node: &Node, usual: SocketAddr, port_help: &str) -> Read<SocketAddr> {
    if matches!(node.value, Value::List(_)) {
        let title = "`[` begins a list in YAML, and an address is wanted";
        let label = format!("write \"[::]:{}\" in quotes", usual.port());
        return Err(Finding::at(node.place, title, label));
    }
    let scalar = read::scalar(node, "an address with a port")?;
    let text = scalar.text.trim();
    let title = format!("{} is no address with a port", quoted(text));
    let Ok(listen) = text.parse::<SocketAddr>() else {
        let port = text.trim_start_matches(':').parse::<u16>();
        let meant = match (text.parse::<IpAddr>(), port) {
            (Ok(address), _) => SocketAddr::new(address, usual.port()),
            (Err(_), Ok(port)) => SocketAddr::new(usual.ip(), port),
            (Err(_), Err(_)) => usual,
        };
        return Err(Finding::at(node.place, title, format!("write \"{meant}\"")));
    };
    if listen.port() == 0 {
        let label = format!("write {}", usual.port());
        return Err(Finding::at(node.place, "port 0 is no port", label).help(port_help));
    }
    Ok(listen)
}
