//! What is wrong on a host by itself, or with what was asked.

use std::process::Output;
use std::thread;

use super::{Report, active, command, doctor, examine};
use crate::lab::agent::program;
use crate::lab::config::{Router, yaml};
use crate::lab::{LONG, Lab, tools, write};

pub fn no_carrier() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    lab.cut_carrier(&a);
    agent.wait_state("web", "fault", LONG);
    doctor(&a, &agent).is_error("no-carrier");
    a.ip("link set eth0 down");
    doctor(&a, &agent).is_error("interface-down");
}

pub fn no_interface() {
    let lab = Lab::new();
    let a = lab.bare_host("a");
    let report = examine(&lab, &a, &yaml("a", &[Router::new(200)]));
    report.is_error("interface-missing");
    lab.plug_without_addresses(&a, "eth0");
    let report = examine(&lab, &a, &yaml("a", &[Router::new(200)]));
    report.is_error("no-source-address");
}

/// The kernel may answer for the address by the other interface, until the
/// settings that are named forbid it.
pub fn two_interfaces() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    lab.plug_without_addresses(&a, "eth1");
    a.ip("address add 192.0.2.251/24 dev eth1");
    let set = |ignore: &str, announce: &str| {
        a.namespace.sysctl(&[
            ("ipv4/conf/eth1/arp_ignore", ignore),
            ("ipv4/conf/eth1/arp_announce", announce),
        ]);
    };
    set("0", "0");
    let report = doctor(&a, &agent);
    let finding = report.is_warning("arp-flux");
    assert!(
        finding["what"]
            .to_string()
            .contains("eth1 is on the subnet"),
        "{finding:#}"
    );
    let mends = finding["mend"].to_string();
    for key in ["eth1.arp_ignore = 1", "eth1.arp_announce = 2"] {
        assert!(mends.contains(key), "{mends}");
    }
    set("1", "2");
    let report = doctor(&a, &agent);
    assert!(report.trouble().is_empty(), "{:#}", report.json);
    // The kernel answers by whichever interface its own packets take.
    a.namespace.sysctl(&[("ipv4/conf/eth0/arp_filter", "1")]);
    let report = doctor(&a, &agent);
    assert!(report.trouble().is_empty(), "{:#}", report.json);
    a.ip("route change 192.0.2.0/24 dev eth1");
    doctor(&a, &agent).is_error("arp-filter");
}

/// As root whose capabilities were bounded.
pub fn no_rights() {
    let lab = Lab::new();
    let a = lab.host("a");
    let file = lab.directory.path().join("alone.yaml");
    write(&file, &yaml("a", &[Router::new(200)]));
    let agent = active(&lab, &a, &Router::new(200));
    let bounded = |arguments: &[&str]| {
        let path = program().path;
        let setpriv = tools::Program {
            path: "/usr/bin/setpriv".into(),
            library_path: None,
        };
        let mut command = a.namespace.command(&setpriv);
        command
            .arg("--bounding-set=-net_raw,-net_admin")
            .arg("--")
            .arg(path);
        command
            .args(["doctor", "--json", "--listen", "1s"])
            .args(arguments);
        Report::of(&command.output().expect("it starts"))
    };
    let (file, nowhere) = (
        file.display().to_string(),
        lab.directory.path().join("nowhere"),
    );
    let nowhere = nowhere.display().to_string();
    let report = bounded(&["--config", &file, "--runtime-dir", &nowhere]);
    let finding = report.is_error("capabilities");
    assert!(finding.to_string().contains("CAP_NET_RAW"), "{finding:#}");
    // The agent has them: it is this command that sees less.
    let runtime = agent.runtime.display().to_string();
    let report = bounded(&["--runtime-dir", &runtime]);
    report.is_warning("examined-in-part");
    assert!(
        !report.trouble().contains(&"capabilities"),
        "{:#}",
        report.json
    );
}

/// Their files are put below /run and /etc, for the command alone.
pub fn managers() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    let links = a.namespace.ip_json("link show dev eth0");
    let index = links[0]["ifindex"].as_u64().expect("an index");
    let kept = lab.directory.path().join("kept");
    std::fs::create_dir(&kept).expect("a directory");
    let (runtime, kept) = (agent.runtime.display(), kept.display().to_string());
    let with = |script: &str| {
        let shell = tools::Program {
            path: "/usr/bin/unshare".into(),
            library_path: None,
        };
        let mut command = a.namespace.command(&shell);
        let script = format!(
            "set -e; mount --bind {runtime} {kept}; mount -t tmpfs none /run; mkdir -p /run/etc /run/systemd/netif/links \
             /run/NetworkManager/devices; {script}; exec \"$0\" \"$@\""
        );
        command
            .args(["--mount", "--", "sh", "-c", &script])
            .arg(program().path);
        command.args(["doctor", "--json", "--listen", "0s", "--runtime-dir"]);
        command.arg(&kept);
        Report::of(&command.output().expect("it starts"))
    };
    let networkd = format!(
        "printf 'ADMIN_STATE=configured\\nNETWORK_FILE=/run/systemd/network/10-eth0.network\\n' \
         >/run/systemd/netif/links/{index}; mkdir /run/systemd/network; \
         printf '[Network]\\nKeepConfiguration=KEEP\\n' >/run/systemd/network/10-eth0.network"
    );
    let report = with(&networkd.replace("KEEP", "no"));
    let finding = report.is_warning("networkd-prunes");
    assert!(
        finding
            .to_string()
            .contains("/etc/systemd/network/10-eth0.network.d/vipward.conf"),
        "{finding:#}"
    );
    let report = with(&networkd.replace("KEEP", "yes"));
    assert!(report.trouble().is_empty(), "{:#}", report.json);
    let report = with(&format!(
        "printf '[device]\\nmanaged=true\\n' >/run/NetworkManager/devices/{index}"
    ));
    let finding = report.is_warning("network-manager-prunes");
    assert!(
        finding
            .to_string()
            .contains("unmanaged-devices=interface-name:eth0"),
        "{finding:#}"
    );
}

pub fn without_agent() {
    let lab = Lab::new();
    let a = lab.host("a");
    let report = examine(&lab, &a, &yaml("a", &[Router::new(200)]));
    let finding = report.is_warning("no-agent");
    let text = finding.to_string();
    assert!(
        text.contains("it was examined from the configuration file"),
        "{text}"
    );
    assert_eq!(report.json["agent"]["answers"], false);
    assert_eq!(report.trouble(), ["no-agent"], "{:#}", report.json);
}

pub fn faults() {
    let lab = Lab::new();
    let a = lab.host("a");
    let faulty = yaml("a", &[Router::new(200)]).replace("vrid: 51", "vrid: 0");
    let file = lab.directory.path().join("faulty.yaml");
    write(&file, &faulty);
    let path = file.display().to_string();
    let nowhere = lab.directory.path().join("nowhere").display().to_string();
    let output = command(&a, &["--config", &path, "--runtime-dir", &nowhere]).output();
    let output = output.expect("it starts");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("faulty.yaml:5:11"), "{shown}");
    Report::of(&output).is_error("configuration");
    // What runs is examined all the same.
    let agent = active(&lab, &a, &Router::new(200));
    lab.cut_carrier(&a);
    agent.wait_state("web", "fault", LONG);
    let runtime = agent.runtime.display().to_string();
    let output = command(&a, &["--config", &path, "--runtime-dir", &runtime]).output();
    let report = Report::of(&output.expect("it starts"));
    report.is_error("configuration");
    report.is_error("no-carrier");
}

pub fn bad_input() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    let said = |output: Output| {
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        (output.status.code(), text)
    };
    let (code, text) = said(agent.ask(&["doctor", "wbe"]));
    assert_eq!(code, Some(2));
    assert!(text.contains("did you mean `web`?"), "{text}");
    let plain = lab.directory.path().join("plain");
    write(&plain, "x");
    let foreign = lab.directory.path().join("foreign");
    let _listener = std::os::unix::net::UnixDatagram::bind(&foreign).expect("a socket");
    let http = lab.directory.path().join("http");
    let server = std::os::unix::net::UnixListener::bind(&http).expect("a socket");
    thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in server.incoming().take(2) {
            let mut stream = stream.expect("a client");
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        }
    });
    for (path, what) in [
        (&plain, "it is no socket"),
        (&foreign, "a socket of another type"),
        (&http, "404"),
    ] {
        let path = path.display().to_string();
        for (command, expected) in [("doctor", 2), ("status", 3)] {
            let (code, text) = said(agent.ask_without_socket(&[command, "--socket", &path]));
            assert_eq!(code, Some(expected), "{text}");
            assert!(
                text.contains(what) && text.contains("control.sock"),
                "{text}"
            );
        }
    }
}
