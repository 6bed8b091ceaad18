//! Programs that configure an interface, and take addresses away that they
//! did not add.

use std::path::Path;

use super::super::facts::{Facts, Keep, Manager, ManagerKind};
use super::super::finding::Finding;
use super::{about_interface, then_reloaded, users};
use crate::agent::values::InterfaceName;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let all = facts.managers.iter();
    all.flat_map(|(name, manager)| one(facts, *name, manager))
        .collect()
}

fn one(facts: &Facts, name: InterfaceName, manager: &Manager) -> Vec<Finding> {
    let about = about_interface(facts, name);
    match &manager.kind {
        ManagerKind::Networkd {
            file,
            keep,
            manages_routes,
            manages_rules,
        } => {
            let mut findings = Vec::new();
            if *keep != Keep::Everything {
                findings.push(networkd(about.clone(), file.as_deref(), *keep, manager));
            }
            let routes = *manages_routes && users(facts, name).any(|subject| subject.routes);
            let rules = *manages_rules && users(facts, name).any(|subject| subject.rules);
            if routes || rules {
                findings.push(foreign_routing(about, routes, rules));
            }
            findings
        }
        ManagerKind::NetworkManager { written } => {
            vec![network_manager(about, name, written.as_deref(), manager)]
        }
        ManagerKind::Ifupdown { file, dhcp } => {
            let file = file.as_deref().unwrap_or(Path::new("/etc/network/interfaces"));
            vec![ifupdown(facts, about, name, file, *dhcp, manager)]
        }
        ManagerKind::Dhclient => vec![dhclient(facts, about, name)],
        ManagerKind::Dhcpcd => vec![
            Finding::note(
                "dhcpcd",
                about,
                format!("dhcpcd configures {name}; it leaves addresses alone that it did not add"),
            )
            .why("the address of this host itself goes when its lease ends, and the instance with it")
            .advise(format!(
                "a static one in /etc/dhcpcd.conf: `interface {name}`, `static \
                 ip_address=ADDRESS/LENGTH`"
            )),
        ],
    }
}

const PRUNES: &str = "it takes away the virtual addresses when it configures the interface anew, \
     after its own restart or an upgrade; the agent puts them back within a second, and clients \
     meet that gap";

fn networkd(about: String, file: Option<&Path>, keep: Keep, manager: &Manager) -> Finding {
    let unit = file.and_then(Path::file_name);
    let unit = unit.map_or("FILE.network".into(), |name| name.to_string_lossy());
    let by = match file {
        Some(file) => format!(", by {}", file.display()),
        None => String::new(),
    };
    let has = match keep {
        Keep::Static => {
            "with KeepConfiguration=static, which is for addresses without an end of life, and \
             ours have one"
        }
        Keep::Nothing | Keep::Everything => "without KeepConfiguration=yes",
    };
    let what = format!("systemd-networkd configures this interface{by}, {has}");
    let directory = format!("/etc/systemd/network/{unit}.d");
    let mut finding = Finding::warning("networkd-prunes", about, what)
        .why(PRUNES)
        .run(format!(
            "mkdir -p {directory} && printf '[Network]\\nKeepConfiguration=yes\\n' \
             >{directory}/vipward.conf && networkctl reload"
        ));
    if !manager.netplan.is_empty() {
        let files: Vec<String> = manager
            .netplan
            .iter()
            .map(|f| f.display().to_string())
            .collect();
        finding = finding.advise(format!(
            "netplan writes {unit} from {}; the file above is beside it and stays",
            files.join(", ")
        ));
    }
    with_cloud_init(finding, manager)
}

fn foreign_routing(about: String, routes: bool, rules: bool) -> Finding {
    let (what, mut lines) = match (routes, rules) {
        (true, true) => ("routes and rules", vec![]),
        (true, false) => ("routes", vec![]),
        (false, _) => ("rules", vec![]),
    };
    if routes {
        lines.push("ManageForeignRoutes=no");
    }
    if rules {
        lines.push("ManageForeignRoutingPolicyRules=no");
    }
    let what = format!("systemd-networkd takes away {what} that it did not add");
    Finding::warning("networkd-prunes-routes", about, what)
        .why(PRUNES.replace("virtual addresses", "routes and rules of the instance"))
        .run(format!(
            "mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\n{}\\n' \
             >/etc/systemd/networkd.conf.d/vipward.conf && systemctl restart systemd-networkd",
            lines.join("\\n")
        ))
}

fn network_manager(
    about: String,
    name: InterfaceName,
    written: Option<&Path>,
    manager: &Manager,
) -> Finding {
    let finding = match written {
        Some(file) => {
            let what = format!(
                "NetworkManager configures {name}, although {} takes it out",
                file.display()
            );
            Finding::warning("network-manager-prunes", about, what)
                .why(format!(
                    "the file is not in force yet: until it is, {PRUNES}"
                ))
                .run("nmcli general reload conf")
                .run(format!("nmcli device set {name} managed no"))
        }
        None => {
            let what = format!("NetworkManager configures {name}");
            Finding::warning("network-manager-prunes", about, what)
                .why(PRUNES)
                .run(format!(
                    "printf '[keyfile]\\nunmanaged-devices=interface-name:{name}\\n' \
                     >/etc/NetworkManager/conf.d/90-vipward-{name}.conf && nmcli general reload conf"
                ))
                .advise(format!(
                    "then {name} gets its own address from elsewhere, such as ifupdown or \
                     systemd-networkd: prepare that first, or the host is cut off"
                ))
        }
    };
    with_cloud_init(finding, manager)
}

fn ifupdown(
    facts: &Facts,
    about: String,
    name: InterfaceName,
    file: &Path,
    dhcp: bool,
    manager: &Manager,
) -> Finding {
    let file = file.display();
    if !dhcp {
        return Finding::note(
            "ifupdown",
            about,
            format!("ifupdown configures {name}, by {file}"),
        )
        .why("`ifdown` and a restart of networking take the virtual addresses away; the agent puts them back when the interface returns");
    }
    let what = format!("{file} has {name} configured by DHCP");
    let finding = Finding::warning("dhcp-flushes", about, what)
        .why(
            "when the lease changes or ends, the client's script may flush the interface's \
             addresses, the virtual ones too; the agent puts them back within a second",
        )
        .advise(format!(
            "write a static address in {file}: `iface {name} inet static`, `address ADDRESS/LENGTH`"
        ))
        .advise(format!(
            "or give the virtual addresses a label, such as `label: \"{name}:v\"`, since the script \
             flushes only those without one:"
        ));
    with_cloud_init(then_reloaded(facts, finding), manager)
}

fn dhclient(facts: &Facts, about: String, name: InterfaceName) -> Finding {
    let finding = Finding::warning("dhcp-flushes", about, format!("dhclient runs for {name}"))
        .why(
            "when its lease changes or ends, its script may flush the interface's addresses, the \
             virtual ones too; the agent puts them back within a second",
        )
        .advise(format!(
            "give {name} a static address, or the virtual addresses a label, such as \
             `label: \"{name}:v\"`, since the script flushes only those without one:"
        ));
    then_reloaded(facts, finding)
}

fn with_cloud_init(finding: Finding, manager: &Manager) -> Finding {
    match &manager.cloud_init {
        Some(file) => finding
            .advise(format!(
                "cloud-init writes {} anew at a start; before changing that file, tell it not to:",
                file.display()
            ))
            .run(
                "echo 'network: {config: disabled}' \
                 >/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg",
            ),
        None => finding,
    }
}
