//! What an installation leaves, and what it does not do.

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{LONG, vip, wait};
use crate::operator::{edit, fresh, install};

pub const TESTS: &[Test] = &[
    ("installed::nothing_starts_as_shipped", as_shipped),
    ("installed::what_is_where", what_is_where),
];

fn as_shipped() {
    let pair = fresh();
    let lb1 = &pair.lb1;
    let told = install(lb1, false);
    // Whoever installs it reads what is left to do ...
    let left = "vipward: the instances in /etc/vipward/config.yaml are still those of the example, \
                so nothing was started. Write what this host is to hold (man 5 vipward.yaml), judge it with `vipward \
                validate`, then `systemctl start vipward`";
    assert!(told.contains(left), "{told}");
    quiet(lb1);
    assert_eq!(lb1.show("vipward", "UnitFileState"), "enabled");
    // ... and so does whoever starts it all the same,
    lb1.sh("systemctl start vipward");
    quiet(lb1);
    let status = lb1.try_sh("systemctl status --no-pager -l vipward");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("Active: inactive (dead)"), "{status}");
    assert!(status.contains(left), "{status}");
    // also where the file is gone, which is how to say no to a package.
    lb1.sh("rm /etc/vipward/config.yaml && systemctl start vipward");
    quiet(lb1);
    let journal = lb1.journal();
    let gone = "there is no /etc/vipward/config.yaml, so nothing was started";
    assert!(journal.contains(gone), "{journal}");
    // It is edited, and starts; the runner beside it too.
    install(lb1, true);
    assert_eq!(lb1.read("/etc/vipward/config.yaml"), "", "dpkg restored it");
    lb1.sh("cp /usr/share/doc/vipward/examples/config.yaml /etc/vipward/");
    edit(lb1, 150, "");
    lb1.sh("systemctl start vipward");
    lb1.wait_active();
    assert_eq!(lb1.show("vipward-runner", "ActiveState"), "active");
}

/// It did not start, is no failure, and will not be tried for ever.
#[track_caller]
fn quiet(machine: &Machine) {
    wait("the unit to be skipped", LONG, || {
        match machine.show("vipward", "ActiveState").as_str() {
            "inactive" => Ok(()),
            seen => Err(seen.to_owned()),
        }
    });
    for (property, value) in [
        ("SubState", "dead"),
        ("Result", "exec-condition"),
        ("NRestarts", "0"),
    ] {
        assert_eq!(machine.show("vipward", property), value, "{property}");
    }
    assert_eq!(machine.sh("systemctl is-system-running"), "running");
    assert!(!machine.holds(vip()));
    assert!(!machine.try_sh("pgrep vipward").status.success());
}

fn what_is_where() {
    let pair = fresh();
    let lb1 = &pair.lb1;
    install(lb1, false);
    // Whose they are, and who may do what with them.
    let owners = lb1.sh(
        "stat -c '%n %a %U %G' /etc/vipward /etc/vipward/config.yaml /usr/bin/vipward \
         /run/vipward /var/lib/vipward",
    );
    let owners: Vec<&str> = owners.lines().collect();
    assert_eq!(
        owners,
        [
            "/etc/vipward 755 root root",
            "/etc/vipward/config.yaml 644 root root",
            "/usr/bin/vipward 755 root root",
            "/run/vipward 755 vipward vipward",
            "/var/lib/vipward 700 vipward vipward",
        ]
    );
    let user = lb1.sh("getent passwd vipward");
    assert!(
        user.ends_with(":/var/lib/vipward:/usr/sbin/nologin"),
        "{user}"
    );
    let uid: u32 = lb1.sh("id -u vipward").parse().expect("a number");
    assert!(uid < 1000, "{uid} is no system user");
    // The first line of the file says where its schema is.
    let config = lb1.read("/etc/vipward/config.yaml");
    let schema = config
        .lines()
        .next()
        .and_then(|line| line.split_once("$schema="));
    let (_, schema) = schema.expect("the schema is named");
    let schema: serde_json::Value = serde_json::from_str(&lb1.read(schema)).expect("a schema");
    assert!(schema["properties"]["instances"].is_object(), "{schema}");
    lb1.sh("vipward validate");
    lb1.sh("bash -n /usr/share/bash-completion/completions/vipward");
    for command in ["run", "validate", "status", "drain", "import"] {
        lb1.sh(&format!(
            "gunzip -c /usr/share/man/man8/vipward-{command}.8.gz | grep -q '^\\.SH NAME'"
        ));
    }
    lb1.sh("gunzip -c /usr/share/man/man5/vipward.yaml.5.gz | grep -q advert_interval");
    imported(lb1);
    // Nothing of it was changed since, by maintainer scripts or the service.
    assert_eq!(lb1.sh("dpkg --verify vipward"), "");
    // Of both units every directive is known here.
    let complaints = lb1.sh("systemd-analyze verify vipward.service vipward-runner.service 2>&1 | grep -v 'man .* failed' || true");
    assert_eq!(complaints, "");
}

const KEEPALIVED: &str = "vrrp_instance web {
    interface eth0
    virtual_router_id 51
    priority 150
    auth_hmac {
        key 3 KEY
        active_key 3
    }
    virtual_ipaddress {
        192.0.2.10/24
    }
}
";

/// Into the place of the example, which is nobody's work; and of nothing else.
fn imported(machine: &Machine) {
    let place = "/etc/vipward/config.yaml";
    let example = machine.read(place);
    let file = KEEPALIVED.replace("KEY", &"5a".repeat(32));
    crate::lab::write(&machine.root().join("root/keepalived.conf"), &file);
    let keys = "/etc/vipward/keys";
    let import = format!("vipward import /root/keepalived.conf -o {place} --keys {keys}");
    machine.sh(&format!("{import} 2>&1"));
    let written = machine.read(place);
    assert!(written.contains("vrid: 51"), "{written}");
    machine.sh("vipward configured");
    // The service can use it as it is.
    let judged = machine.sh("vipward validate 2>&1");
    assert!(!judged.contains("chown"), "{judged}");
    let owners = machine.sh(&format!("stat -c '%a %U' {keys} {keys}/*"));
    assert_eq!(owners, "700 vipward\n600 vipward");
    let refused = machine.try_sh(&import);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(machine.read(place), written);
    machine.configure(&example);
}
