//! Which program configures an interface, told from what the known ones leave
//! below /run. For messages only: nothing is decided by it, so it may be
//! wrong or missing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::agent::values::InterfaceName;

/// Of one file. What we look for stands near the beginning.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Looks below one directory.
#[derive(Clone, Debug)]
pub struct Managers {
    run: PathBuf,
}

impl Default for Managers {
    fn default() -> Self {
        Self::below("/run")
    }
}

impl Managers {
    pub fn below(run: impl Into<PathBuf>) -> Self {
        Self { run: run.into() }
    }

    /// By the name that its users know it by; `None` when none is recognised.
    /// Reads at most a handful of small files and waits for nobody.
    pub fn of(&self, interface: InterfaceName, index: u32) -> Option<&'static str> {
        let name = interface.as_str();
        let found = |manages: bool, name| manages.then_some(name);
        found(self.networkd(index), "systemd-networkd")
            .or_else(|| found(self.network_manager(index), "NetworkManager"))
            .or_else(|| found(self.dhcpcd(name), "dhcpcd"))
            .or_else(|| found(self.ifupdown(name), "ifupdown"))
    }

    /// A state file by index, `ADMIN_STATE=configured`; an interface that it
    /// leaves alone is `unmanaged`.
    fn networkd(&self, index: u32) -> bool {
        let states = ["configuring", "configured"];
        self.lines(&format!("systemd/netif/links/{index}"))
            .iter()
            .filter_map(|line| line.strip_prefix("ADMIN_STATE="))
            .any(|state| states.contains(&state))
    }

    /// A key file by index, `managed=true`.
    fn network_manager(&self, index: u32) -> bool {
        self.lines(&format!("NetworkManager/devices/{index}"))
            .iter()
            .filter_map(|line| line.strip_prefix("managed="))
            .any(|managed| matches!(managed.trim(), "true" | "1" | "yes"))
    }

    /// Its process by the interface's name, or one for all interfaces (which
    /// may leave this one alone); its files are below `dhcpcd` since version
    /// 9, and there the one for all is called plainly `pid`.
    fn dhcpcd(&self, interface: &str) -> bool {
        let own = [
            format!("dhcpcd/{interface}.pid"),
            format!("dhcpcd/{interface}-4.pid"),
            format!("dhcpcd/{interface}-6.pid"),
            format!("dhcpcd-{interface}.pid"),
        ];
        let all = ["dhcpcd/pid".to_owned(), "dhcpcd.pid".to_owned()];
        own.iter().chain(&all).any(|path| self.is_alive(path))
    }

    /// `ifstate` lists what it has brought up, as `eth0=eth0`.
    fn ifupdown(&self, interface: &str) -> bool {
        self.lines("network/ifstate")
            .iter()
            .filter_map(|line| line.split_once('='))
            .any(|(name, _)| name == interface)
    }

    /// The file holds the number of a process that there is.
    fn is_alive(&self, path: &str) -> bool {
        let lines = self.lines(path);
        let number = lines.first().map(|line| line.trim().parse::<u32>());
        match number {
            Some(Ok(number)) => Path::new("/proc").join(number.to_string()).exists(),
            Some(Err(_)) | None => false,
        }
    }

    /// None where there is no such file, or nothing that can be read.
    fn lines(&self, path: &str) -> Vec<String> {
        let mut text = Vec::new();
        let read = regular(&self.run.join(path))
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok());
        match read {
            Some(_) => String::from_utf8_lossy(&text)
                .lines()
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        }
    }
}

/// Opening a pipe would wait for a writer.
fn regular(path: &Path) -> Option<File> {
    let is_file = path.metadata().ok()?.is_file();
    is_file.then(|| File::open(path).ok())?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    fn manager(files: &[(&str, &str)]) -> Option<&'static str> {
        let run = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = run.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Managers::below(run.path()).of("eth0".parse().unwrap(), 7)
    }

    const NETWORKD: &str = "# This is private data. Do not parse.\nADMIN_STATE=STATE\n\
                            OPER_STATE=routable\n";
    const NETWORK_MANAGER: &str = "[device]\nmanaged=STATE\nconnection-uuid=4d3c\n";

    #[rstest]
    #[case(
        "systemd/netif/links/7",
        NETWORKD,
        "configured",
        Some("systemd-networkd")
    )]
    #[case(
        "systemd/netif/links/7",
        NETWORKD,
        "configuring",
        Some("systemd-networkd")
    )]
    #[case("systemd/netif/links/7", NETWORKD, "unmanaged", None)]
    #[case("systemd/netif/links/7", NETWORKD, "pending", None)]
    #[case("systemd/netif/links/8", NETWORKD, "configured", None)]
    #[case(
        "NetworkManager/devices/7",
        NETWORK_MANAGER,
        "true",
        Some("NetworkManager")
    )]
    #[case(
        "NetworkManager/devices/7",
        NETWORK_MANAGER,
        "1",
        Some("NetworkManager")
    )]
    #[case("NetworkManager/devices/7", NETWORK_MANAGER, "false", None)]
    #[case("NetworkManager/devices/77", NETWORK_MANAGER, "true", None)]
    #[case("dhcpcd/eth0.pid", "STATE\n", "PID", Some("dhcpcd"))]
    #[case("dhcpcd-eth0.pid", "STATE\n", "PID", Some("dhcpcd"))]
    #[case("dhcpcd/pid", "STATE\n", "PID", Some("dhcpcd"))]
    #[case("dhcpcd/eth1.pid", "STATE\n", "PID", None)]
    #[case("dhcpcd/eth0.pid", "STATE\n", "4294967295", None)]
    #[case("dhcpcd/eth0.pid", "STATE\n", "../self", None)]
    #[case("network/ifstate", "lo=lo\nSTATE=STATE\n", "eth0", Some("ifupdown"))]
    #[case("network/ifstate", "lo=lo\nSTATE=STATE\n", "eth00", None)]
    fn told_by_its_files(
        #[case] path: &str,
        #[case] text: &str,
        #[case] state: &str,
        #[case] expected: Option<&str>,
    ) {
        let own = std::process::id().to_string();
        let state = if state == "PID" { &own } else { state };
        let text = text.replace("STATE=STATE", &format!("STATE={state}"));
        let text = match text.contains("ADMIN_STATE") {
            true => text,
            false => text.replace("STATE", state),
        };
        assert_eq!(manager(&[(path, &text)]), expected, "{text}");
    }

    #[test]
    fn nothing_is_waited_for_and_nothing_read_to_no_end() {
        assert_eq!(manager(&[]), None);
        let run = tempfile::tempdir().unwrap();
        let links = run.path().join("systemd/netif/links");
        fs::create_dir_all(&links).unwrap();
        nix::unistd::mkfifo(&links.join("7"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir_all(run.path().join("NetworkManager/devices/7")).unwrap();
        fs::create_dir_all(run.path().join("dhcpcd")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", run.path().join("dhcpcd/pid")).unwrap();
        assert_eq!(
            Managers::below(run.path()).of("eth0".parse().unwrap(), 7),
            None
        );
        let late = "#".repeat(20_000) + "\nADMIN_STATE=configured\n";
        assert_eq!(manager(&[("systemd/netif/links/7", &late)]), None);
    }
}
