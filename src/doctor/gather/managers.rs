//! Which program configures an interface, and by which file: read from what
//! the known ones keep below /etc and /run. Small files only, and nothing is
//! waited for.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::facts::{Keep, Manager, ManagerKind};
use crate::agent::values::InterfaceName;
use crate::net::manager::Managers;

const FILE_BYTES_MAX: u64 = 256 * 1024;
const FILES_MAX: usize = 256;

/// Where systemd looks for configuration, the strongest first.
const SYSTEMD: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];

/// The files below one root.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Of the interface that has `index` now; `None` where nobody is known to
    /// configure it.
    pub fn manager(&self, interface: InterfaceName, index: u32) -> Option<Manager> {
        let kind = match Managers::below(self.root.join("run")).of(interface, index) {
            Some("systemd-networkd") => self.networkd(index),
            Some("NetworkManager") => ManagerKind::NetworkManager {
                written: self.taken_out(interface),
            },
            Some("dhcpcd") => ManagerKind::Dhcpcd,
            Some(_) => self.ifupdown(interface)?,
            None if self.has_dhclient(interface) => ManagerKind::Dhclient,
            None => return None,
        };
        let rendered = match &kind {
            ManagerKind::Networkd { file, .. } => {
                let name = file.as_deref().and_then(Path::file_name);
                name.is_some_and(|name| name.to_string_lossy().contains("netplan"))
            }
            ManagerKind::NetworkManager { .. } => self.has_netplan_profile(),
            ManagerKind::Ifupdown { .. } | ManagerKind::Dhcpcd | ManagerKind::Dhclient => false,
        };
        let netplan = match rendered {
            true => self.listed("etc/netplan", "yaml"),
            false => Vec::new(),
        };
        Some(Manager {
            kind,
            netplan,
            cloud_init: self.cloud_init(interface),
        })
    }

    fn networkd(&self, index: u32) -> ManagerKind {
        let state = self.text(&format!("run/systemd/netif/links/{index}"));
        let file = state
            .lines()
            .find_map(|line| line.strip_prefix("NETWORK_FILE="));
        let file = file.map(|file| PathBuf::from(file.trim_matches('"')));
        let mut keep = Keep::Nothing;
        if let Some(file) = &file {
            let unit = file.file_name().unwrap_or_default().to_string_lossy();
            let mut texts = vec![self.text(&file.to_string_lossy())];
            texts.extend(self.drop_ins(&format!("systemd/network/{unit}.d")));
            let values = texts
                .iter()
                .flat_map(|text| value(text, "Network", "KeepConfiguration"));
            keep = match values.last() {
                Some(text) if is_true(&text) => Keep::Everything,
                Some(text) if text == "static" => Keep::Static,
                Some(_) | None => Keep::Nothing,
            };
        }
        let main = SYSTEMD.iter().rev();
        let mut texts: Vec<String> = main
            .map(|place| self.text(&format!("{place}/systemd/networkd.conf")))
            .collect();
        texts.extend(self.drop_ins("systemd/networkd.conf.d"));
        let manages = |key: &str| {
            let values = texts.iter().flat_map(|text| value(text, "Network", key));
            values.last().is_none_or(|text| is_true(&text))
        };
        ManagerKind::Networkd {
            file,
            keep,
            manages_routes: manages("ManageForeignRoutes"),
            manages_rules: manages("ManageForeignRoutingPolicyRules"),
        }
    }

    /// The texts of a directory's `.conf` files in the order in which they
    /// act: by name, and of one name the strongest place alone.
    fn drop_ins(&self, directory: &str) -> Vec<String> {
        let mut files: Vec<PathBuf> = Vec::new();
        for place in SYSTEMD {
            for file in self.listed(&format!("{place}/{directory}"), "conf") {
                if !files
                    .iter()
                    .any(|known| known.file_name() == file.file_name())
                {
                    files.push(file);
                }
            }
        }
        files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let texts = files.iter().map(|file| self.text(&file.to_string_lossy()));
        texts.collect()
    }

    /// A file by which NetworkManager is told to leave the interface alone.
    fn taken_out(&self, interface: InterfaceName) -> Option<PathBuf> {
        let mut files = vec![PathBuf::from("/etc/NetworkManager/NetworkManager.conf")];
        for place in ["etc", "run", "usr/lib"] {
            files.extend(self.listed(&format!("{place}/NetworkManager/conf.d"), "conf"));
        }
        let names = |text: &str| {
            let values = value(text, "keyfile", "unmanaged-devices");
            let names = |list: &String| {
                let mut all = list.split([',', ';']).map(str::trim);
                all.any(|spec| is_named(spec, interface.as_str()))
            };
            values.iter().any(names)
        };
        files
            .into_iter()
            .find(|file| names(&self.text(&file.to_string_lossy())))
    }

    fn has_netplan_profile(&self) -> bool {
        let profiles = self.listed("run/NetworkManager/system-connections", "nmconnection");
        let mut names = profiles.iter().filter_map(|path| path.file_name());
        names.any(|name| name.to_string_lossy().starts_with("netplan-"))
    }

    /// Of Debian's `interfaces(5)`, the file that has the interface's stanza.
    fn ifupdown(&self, interface: InterfaceName) -> Option<ManagerKind> {
        let mut files = vec![PathBuf::from("/etc/network/interfaces")];
        files.extend(self.listed("etc/network/interfaces.d", ""));
        let mut found = None;
        let mut dhcp = false;
        for file in files {
            for line in self.text(&file.to_string_lossy()).lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let ["iface", name, family, method, ..] = words.as_slice()
                    && *name == interface.as_str()
                {
                    dhcp |= *family == "inet" && *method == "dhcp";
                    found = Some(file.clone());
                }
            }
        }
        let dhcp = dhcp || self.has_dhclient(interface);
        Some(ManagerKind::Ifupdown { file: found, dhcp })
    }

    fn has_dhclient(&self, interface: InterfaceName) -> bool {
        let names = [
            format!("run/dhclient.{interface}.pid"),
            format!("run/dhclient-{interface}.pid"),
        ];
        names.iter().any(|name| {
            let number = self.text(name).trim().parse::<u32>();
            number.is_ok_and(|pid| self.root.join(format!("proc/{pid}")).exists())
        })
    }

    /// What cloud-init writes anew at each start of a new machine, unless it
    /// was told not to.
    fn cloud_init(&self, interface: InterfaceName) -> Option<PathBuf> {
        let configured = self.listed("etc/cloud/cloud.cfg.d", "cfg");
        let off = configured.iter().any(|file| {
            let text = self.text(&file.to_string_lossy()).replace(['{', '}'], " ");
            text.contains("network:") && text.contains("config: disabled")
        });
        if off || self.root.join("etc/cloud/cloud-init.disabled").exists() {
            return None;
        }
        let files = [
            "etc/netplan/50-cloud-init.yaml".to_owned(),
            "etc/network/interfaces.d/50-cloud-init".to_owned(),
            "etc/network/interfaces.d/50-cloud-init.cfg".to_owned(),
            format!("etc/systemd/network/10-cloud-init-{interface}.network"),
            format!("etc/NetworkManager/system-connections/cloud-init-{interface}.nmconnection"),
        ];
        let found = files
            .into_iter()
            .find(|file| self.root.join(file).is_file())?;
        Some(Path::new("/").join(found))
    }

    /// The files of a directory with this ending, sorted, as paths from `/`;
    /// every one where it is empty.
    fn listed(&self, directory: &str, ending: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.root.join(directory)) else {
            return Vec::new();
        };
        let paths = entries
            .take(FILES_MAX)
            .filter_map(|entry| Some(entry.ok()?.file_name()));
        let mut names: Vec<PathBuf> = paths
            .map(PathBuf::from)
            .filter(|name| ending.is_empty() || name.extension().is_some_and(|e| e == ending))
            .collect();
        names.sort();
        let at = |name: PathBuf| Path::new("/").join(directory).join(name);
        names.into_iter().map(at).collect()
    }

    /// Empty where there is no such file, or nothing that can be read.
    fn text(&self, path: &str) -> String {
        let path = self.root.join(path.trim_start_matches('/'));
        let mut text = Vec::new();
        // Opening a pipe would wait for a writer.
        let read = path.metadata().is_ok_and(|found| found.is_file());
        if let Ok(file) = File::open(&path)
            && read
        {
            let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Every value of a key in a section, in order; an empty one takes back those
/// before it.
fn value(text: &str, section: &str, key: &str) -> Vec<String> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.strip_suffix(']') == Some(section);
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name.trim() == key
        {
            values.push(value.trim().to_owned());
        }
    }
    values
}

fn is_true(text: &str) -> bool {
    matches!(text, "yes" | "true" | "1" | "on" | "y" | "t")
}

/// `interface-name:eth0`, `interface-name:eth*`, `*`, and what is excepted.
fn is_named(spec: &str, interface: &str) -> bool {
    let name = spec.strip_prefix("interface-name:").unwrap_or(spec);
    let name = name.strip_prefix('=').unwrap_or(name);
    match name.strip_suffix('*') {
        Some(beginning) => interface.starts_with(beginning),
        None => interface == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(files: &[(&str, &str)]) -> Option<Manager> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Files::below(root.path()).manager("eth0".parse().unwrap(), 7)
    }

    const LINK: &str =
        "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-eth0.network\n";

    fn keep(files: &[(&str, &str)]) -> (Keep, bool, bool) {
        let mut all = vec![("run/systemd/netif/links/7", LINK)];
        all.extend(files);
        match manager(&all).expect("managed").kind {
            ManagerKind::Networkd {
                keep,
                manages_routes,
                manages_rules,
                ..
            } => (keep, manages_routes, manages_rules),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_networkd_keeps_is_its_files_last_word() {
        let file = "etc/systemd/network/10-eth0.network";
        let drop_in = "etc/systemd/network/10-eth0.network.d/v.conf";
        let weak = "usr/lib/systemd/network/10-eth0.network.d/v.conf";
        let yes = "[Network]\nKeepConfiguration=yes\n";
        let fixed = "[Match]\nName=eth0\n[Network]\nKeepConfiguration = static\n";
        assert_eq!(keep(&[]), (Keep::Nothing, true, true));
        assert_eq!(keep(&[(file, fixed)]).0, Keep::Static);
        assert_eq!(keep(&[(file, fixed), (drop_in, yes)]).0, Keep::Everything);
        assert_eq!(keep(&[(drop_in, fixed), (weak, yes)]).0, Keep::Static);
        // Another section's.
        assert_eq!(
            keep(&[(file, "[Link]\nKeepConfiguration=yes\n")]).0,
            Keep::Nothing
        );
    }

    #[test]
    fn networkd_is_told_to_leave_routes_and_rules() {
        let no = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n";
        let found = keep(&[("etc/systemd/networkd.conf.d/v.conf", no)]);
        assert_eq!(found, (Keep::Nothing, false, false));
    }

    #[test]
    fn netplan_and_cloud_init_are_behind_networkd() {
        let link = LINK.replace(
            "/etc/systemd/network/10-eth0",
            "/run/systemd/network/10-netplan-eth0",
        );
        let files = [
            ("run/systemd/netif/links/7", link.as_str()),
            ("etc/netplan/50-cloud-init.yaml", "network: {version: 2}\n"),
        ];
        let found = manager(&files).unwrap();
        let written = PathBuf::from("/etc/netplan/50-cloud-init.yaml");
        assert_eq!(found.netplan, std::slice::from_ref(&written));
        assert_eq!(found.cloud_init, Some(written));
        let off = (
            "etc/cloud/cloud.cfg.d/99.cfg",
            "network: {config: disabled}\n",
        );
        let found = manager(&[files[0], files[1], off]).unwrap();
        assert_eq!(found.cloud_init, None);
    }

    #[test]
    fn a_file_that_takes_an_interface_out_of_network_manager_is_found() {
        let device = ("run/NetworkManager/devices/7", "[device]\nmanaged=true\n");
        let written = |list: &str| {
            let text = format!("[keyfile]\nunmanaged-devices={list}\n");
            let files = [device, ("etc/NetworkManager/conf.d/9.conf", text.as_str())];
            match manager(&files).unwrap().kind {
                ManagerKind::NetworkManager { written } => written.is_some(),
                other => panic!("{other:?}"),
            }
        };
        assert!(written("interface-name:eth0"));
        assert!(written("interface-name:docker*;interface-name:eth*"));
        assert!(!written("interface-name:eth1"));
        assert!(!written("mac:02:00:00:00:00:01"));
    }

    #[test]
    fn ifupdown_has_a_file_and_a_method() {
        let state = ("run/network/ifstate", "lo=lo\neth0=eth0\n");
        let text = "auto lo\niface lo inet loopback\niface eth0 inet dhcp\n";
        let found = manager(&[state, ("etc/network/interfaces.d/eth", text)]).unwrap();
        let file = Some(PathBuf::from("/etc/network/interfaces.d/eth"));
        assert_eq!(found.kind, ManagerKind::Ifupdown { file, dhcp: true });
        let text = "iface eth0 inet static\n";
        let found = manager(&[state, ("etc/network/interfaces", text)]).unwrap();
        let file = Some(PathBuf::from("/etc/network/interfaces"));
        assert_eq!(found.kind, ManagerKind::Ifupdown { file, dhcp: false });
    }

    #[test]
    fn nobody_configures_it() {
        assert_eq!(manager(&[]), None);
    }
}
