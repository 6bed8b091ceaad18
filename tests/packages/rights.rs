//! Who may do what: the agent's user, the reading group, the administering one,
//! and what the documented drop-ins give.

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{LONG, script, vip, wait};
use crate::operator::{edit, fresh, install, serving};

pub const TESTS: &[Test] = &[
    ("rights::who_may_ask_and_who_may_change", ask_and_change),
    ("rights::the_key_of_the_link", the_key_of_the_link),
    ("rights::an_agent_that_root_ran_by_hand", by_hand),
    ("rights::the_drop_ins_of_the_manual", drop_ins),
];

fn refused(machine: &Machine, script: &str) -> String {
    let output = machine.try_sh(script);
    assert!(!output.status.success(), "`{script}` was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ask_and_change() {
    let pair = serving("---\ncontrol: { read_group: vipward, admin_group: operators }\n");
    let lb1 = &pair.lb1;
    lb1.sh("groupadd operators && useradd -G vipward reader && useradd -G vipward,operators admin && useradd other");
    lb1.sh("runuser -u reader -- vipward status");
    let why = refused(lb1, "runuser -u reader -- vipward drain");
    assert!(
        why.contains("only root and members of the group operators may"),
        "{why}"
    );
    assert!(lb1.holds(vip()));
    let why = refused(lb1, "runuser -u other -- vipward status");
    assert!(why.contains("no permission to ask"), "{why}");
    // Nothing else is the group's: not what the agent keeps, not its runner.
    refused(lb1, "runuser -u reader -- ls /var/lib/vipward");
    refused(lb1, "runuser -u reader -- cat /run/vipward/agent.lock");
    let sockets =
        lb1.sh("stat -c '%a %U %G' /run/vipward/control.sock /run/vipward-runner/runner.sock");
    assert_eq!(sockets, "660 vipward vipward\n600 vipward root");

    lb1.sh("runuser -u admin -- vipward drain");
    pair.lb2.wait_active();
    lb1.wait_state("drained");
    lb1.sh("runuser -u admin -- vipward undrain");
    lb1.wait_active();
}

/// A key is made as root, and the first that is told is to give it away.
fn the_key_of_the_link() {
    let pair = fresh();
    let more = "---\ncluster:\n  key_file: /etc/vipward/cluster.key\n  nodes: { lb1: [192.0.2.1], lb2: [192.0.2.2] }\n";
    for (machine, priority) in [(&pair.lb1, 150), (&pair.lb2, 100)] {
        install(machine, false);
        machine.sh("(umask 077; yes | head -c 32 >/etc/vipward/cluster.key)");
        edit(machine, priority, more);
        let judged = machine.try_sh("vipward validate");
        let told = String::from_utf8_lossy(&judged.stderr).into_owned();
        let remedy = "`chown vipward /etc/vipward/cluster.key`";
        assert!(told.contains(remedy), "{told}");
        machine.try_sh("systemctl start vipward");
        let journal = wait("the fault in the journal", LONG, || {
            let journal = machine.journal();
            match journal.contains(remedy) {
                true => Ok(journal),
                false => Err(journal),
            }
        });
        assert!(
            journal.contains("cannot read /etc/vipward/cluster.key"),
            "{journal}"
        );
        machine.sh("chown vipward /etc/vipward/cluster.key");
        let judged = machine.try_sh("vipward validate");
        let told = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(!told.contains("chown"), "{told}");
    }
    // Tried again, without anybody's help.
    pair.lb1.wait_active();
    wait("the link", LONG, || {
        let status = pair.lb1.status()?;
        let heard = status["nodes"][0]["reachable"] == true;
        if heard {
            Ok(())
        } else {
            Err(status["nodes"].to_string())
        }
    });
}

/// It leaves nothing that the service, another user, could not read, even when
/// all of it is killed.
fn by_hand() {
    let pair = fresh();
    let lb1 = &pair.lb1;
    install(lb1, false);
    edit(lb1, 150, "");
    lb1.sh("vipward run >/root/by-hand.log 2>&1 </dev/null & echo $! >/root/pid");
    lb1.wait_active();
    lb1.sh("vipward drain --force && vipward undrain");
    lb1.wait_active();
    lb1.sh("kill -9 $(pidof vipward)");
    let others =
        lb1.sh("find /run/vipward /var/lib/vipward ! -user vipward ! -type s -printf '%p %u\\n'");
    assert_eq!(others, "");
    let ours = lb1.sh("find /run/vipward /var/lib/vipward -user vipward -type f");
    assert!(
        ours.lines().count() >= 3,
        "the lock, the history, a drain: {ours}"
    );
    lb1.sh("systemctl start vipward");
    lb1.wait_active();
    let owner = lb1.sh("ps -o user= -p $(systemctl show -P MainPID vipward)");
    assert_eq!(owner.trim(), "vipward");
    // One history, through both.
    let events = lb1.sh("vipward events");
    assert!(events.matches("backup -> active").count() >= 2, "{events}");
}

/// Those of docs/installing.md, as they stand there.
fn drop_ins() {
    let text = std::fs::read_to_string(crate::root().join("docs/installing.md")).expect("the page");
    let blocks: Vec<&str> = text
        .split("```ini\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let with = |word: &str| {
        let block = blocks.iter().find(|block| block.contains(word));
        *block.unwrap_or_else(|| panic!("no drop-in with {word} in docs/installing.md"))
    };
    let pair = fresh();
    let lb1 = &pair.lb1;
    let more = "    checks: [ran]\n---\nchecks:\n  ran: { script: [/usr/local/bin/ran], \
                interval: 300ms, timeout: 5s }\ncontrol: { read_group: operators }\n";
    script(lb1, "/usr/local/bin/ran", "id -un; exit 0");
    lb1.sh("groupadd operators && useradd -G operators reader");
    install(lb1, false);
    edit(lb1, 150, more);
    lb1.sh("systemctl start vipward");
    let warned = lb1.journal();
    assert!(warned.contains("SupplementaryGroups="), "{warned}");
    refused(lb1, "runuser -u reader -- vipward status");

    let more = [with("SupplementaryGroups="), with("CAP_DAC_READ_SEARCH")].concat();
    lb1.edit("vipward.service", &more);
    lb1.edit("vipward-runner.service", with("CapabilityBoundingSet="));
    lb1.sh("systemctl restart vipward-runner vipward");
    lb1.wait_active();
    lb1.sh("runuser -u reader -- vipward status");
    let runs = wait("the check", LONG, || {
        lb1.check("ran", |check| check["state"] == "up")
    });
    assert_eq!(runs["output"], "nobody");
    let pid = lb1.pid("vipward");
    let effective = lb1.sh(&format!("grep CapEff: /proc/{pid}/status"));
    // The unit's three, and CAP_DAC_READ_SEARCH.
    assert!(effective.ends_with("803004"), "{effective}");
}
