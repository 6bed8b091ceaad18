//! One script: its verdict, its end, what it inherits, what is not run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use vipward::agent::jobs::HookKind;
use vipward::runner::check_file::{Refusal, inspect, inspect_for};

use crate::Test;
use crate::host::{Done, Host, of_group, wait_until};

pub const TESTS: &[Test] = &[
    ("scripts::the_exit_code_decides", the_exit_code_decides),
    ("scripts::the_first_line_is_kept", the_first_line_is_kept),
    (
        "scripts::a_hung_script_is_killed_with_all_its_group",
        a_hung_script_is_killed,
    ),
    (
        "scripts::one_that_prints_without_end",
        one_that_prints_without_end,
    ),
    (
        "scripts::the_end_of_the_script_is_the_result",
        the_end_of_the_script_is_the_result,
    ),
    (
        "scripts::a_hook_may_leave_something_running",
        a_hook_may_leave_something_running,
    ),
    (
        "scripts::arguments_and_environment_of_a_check",
        environment_of_a_check,
    ),
    (
        "scripts::arguments_and_environment_of_hooks",
        environment_of_hooks,
    ),
    ("scripts::nothing_is_inherited", nothing_is_inherited),
    ("scripts::what_must_not_be_run", what_must_not_be_run),
    ("scripts::what_cannot_be_run", what_cannot_be_run),
];

pub const TESTS_OF_ROOT: &[Test] = &[
    ("scripts::rights_are_dropped", rights_are_dropped),
    (
        "scripts::root_only_where_it_is_written",
        root_only_where_it_is_written,
    ),
    (
        "scripts::what_others_could_exchange",
        what_others_could_exchange,
    ),
];

fn the_exit_code_decides() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0")
        .check("bad", 5000, "exit 3");
    host.check("dead", 5000, "kill -SEGV $$").run();
    let mut wire = host.wire();
    assert_eq!(wire.check("good").verdict(), "passed");
    assert_eq!(wire.check("bad").verdict(), "failed: exit code 3");
    assert_eq!(wire.check("dead").verdict(), "failed: killed by SIGSEGV");
    let unknown = wire.check("other").verdict();
    assert!(
        unknown.starts_with("refused: there is no script check \"other\""),
        "{unknown}"
    );
}

fn the_first_line_is_kept() {
    let mut host = Host::new();
    host.check("two", 5000, "echo first; echo second; exit 1");
    host.check("error", 5000, "echo 'cannot connect' >&2; exit 1");
    host.check("escape", 5000, r"printf 'a\033[31mb\377\n'");
    host.check("long", 5000, "head -c 100000 /dev/zero | tr '\\0' x");
    host.check("silent", 5000, "exit 0").run();
    let mut wire = host.wire();
    assert_eq!(wire.check("two").output(), "first");
    assert_eq!(wire.check("error").output(), "cannot connect");
    assert_eq!(wire.check("escape").output(), "a\u{fffd}[31mb\u{fffd}");
    assert_eq!(wire.check("long").output(), "x".repeat(256));
    assert_eq!(wire.check("silent").output(), "");
}

/// It timed out at its deadline, and nothing of its group is left.
fn assert_killed(done: &Done, timeout_ms: u64) {
    let timeout = Duration::from_millis(timeout_ms);
    assert_eq!(done.verdict(), "timed_out");
    assert!(done.took() >= timeout, "{done:?}");
    assert!(done.took() < timeout + Duration::from_secs(1), "{done:?}");
    let group = done.output().parse().expect("its pid");
    wait_until("the end of the group", || of_group(group).is_empty());
}

fn a_hung_script_is_killed() {
    let mut host = Host::new();
    host.check("hung", 500, "echo $$; exec sleep 1000");
    host.check(
        "stubborn",
        500,
        "trap '' TERM HUP INT; echo $$; while :; do sleep 1000; done",
    );
    let forks = "trap '' TERM; echo $$; (sleep 1000; :) & (trap '' TERM; sleep 1000; :) & wait";
    host.check("forks", 500, forks).run();
    let mut wire = host.wire();
    for name in ["hung", "stubborn", "forks"] {
        let done = wire.check(name);
        assert_killed(&done, 500);
    }
}

fn one_that_prints_without_end() {
    let mut host = Host::new();
    host.check(
        "prints",
        1500,
        "trap '' TERM; echo $$; while :; do cat /dev/zero; done",
    );
    host.check("lines", 1500, "echo $$; exec yes")
        .check("other", 1500, "exit 0")
        .run();
    let mut wire = host.wire();
    wire.check("other");
    let before = resident_kib(host.runner_pid());
    wire.order_check(1, "prints");
    wire.order_check(2, "lines");
    for _ in 0..5 {
        let other = wire.check("other");
        assert_eq!(other.verdict(), "passed");
    }
    let mut done = [wire.receive(), wire.receive()].map(|answer| Done(answer.unwrap()));
    done.sort_by_key(|done| done.0["id"].as_u64());
    let grown = resident_kib(host.runner_pid()).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");
    assert_killed(&done[0], 1500);
    assert_killed(&done[1], 1500);
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "VmHWM")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn the_end_of_the_script_is_the_result() {
    let mut host = Host::new();
    host.check(
        "leaves",
        10_000,
        "(trap '' TERM HUP; sleep 1000) & echo $$; exit 0",
    )
    .run();
    let done = host.wire().check("leaves");
    assert_eq!(done.verdict(), "passed");
    assert!(done.took() < Duration::from_secs(5), "{done:?}");
    let group = done.output().parse().unwrap();
    wait_until("the end of the group", || of_group(group).is_empty());
}

fn a_hook_may_leave_something_running() {
    let mut host = Host::new();
    let leaves = "(while sleep 0.05; do echo tick; echo tick >> $SHARED/ticks; done) & echo $$";
    let path = host.write("leaves", leaves);
    host.hook("web", HookKind::Active, 10_000, &path);
    host.run();
    let mut wire = host.wire();
    wire.order_hook(1, "web", "active");
    let done = wire.done(1);
    assert_eq!(done.verdict(), "passed");
    assert!(done.took() < Duration::from_secs(5), "{done:?}");
    let group: i32 = done.output().parse().unwrap();
    // It prints, which is no reason to end.
    let ticks = || fs::read(host.shared().join("ticks")).map_or(0, |ticks| ticks.len());
    let before = ticks();
    wait_until("signs of life", || ticks() > before + 50);
    let group = nix::unistd::Pid::from_raw(group);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Writes down how it was started.
const NOTES: &str = r#"
out=$SHARED/$(basename "$0")
tr '\0' '\n' < /proc/$$/environ > "$out.env"
tr '\0' '\n' < /proc/$$/cmdline > "$out.args"
# Not by another program: the shell blocks signals while it starts one.
while IFS= read -r line; do echo "$line"; done < /proc/$$/status > "$out.status"
cat /proc/$$/stat > "$out.stat"
cat /proc/$$/limits > "$out.limits"
readlink /proc/$$/cwd /proc/$$/fd/0 > "$out.places"
umask > "$out.umask""#;

fn noted(host: &Host, script: &str, what: &str) -> String {
    fs::read_to_string(host.shared().join(format!("{script}.{what}"))).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn environment_of_a_check() {
    let mut host = Host::new();
    let path = host.write("probe", NOTES);
    let command = json!([path, "--fast", "two words", "$HOME;*"]);
    host.check_command("web check", 5000, command, None).run();
    assert_eq!(host.wire().check("web check").verdict(), "passed");
    let environment = noted(&host, "probe", "env");
    assert_eq!(
        sorted(&environment),
        ["LANG=C.UTF-8", PATH, "VIPWARD_CHECK=web check"]
    );
    let arguments = noted(&host, "probe", "args");
    let arguments: Vec<&str> = arguments.lines().skip(1).collect();
    assert_eq!(
        arguments,
        [path.to_str().unwrap(), "--fast", "two words", "$HOME;*"]
    );
}

fn environment_of_hooks() {
    let mut host = Host::new();
    for kind in HookKind::ALL {
        let path = host.write(&format!("on-{}", kind.name()), NOTES);
        host.hook("web", kind, 5000, &path);
    }
    host.run();
    let mut wire = host.wire();
    for kind in HookKind::ALL {
        wire.order_hook(1, "web", kind.name());
        assert_eq!(wire.done(1).verdict(), "passed");
        let script = format!("on-{}", kind.name());
        let expected = [
            "LANG=C.UTF-8",
            PATH,
            "VIPWARD_ADDRESSES=192.0.2.10 2001:db8::10",
            "VIPWARD_INSTANCE=web",
            "VIPWARD_PREVIOUS=backup",
            "VIPWARD_PRIORITY=150",
            "VIPWARD_REASON=no-response",
            "VIPWARD_STATE=active",
        ];
        assert_eq!(sorted(&noted(&host, &script, "env")), expected);
        let arguments = noted(&host, &script, "args");
        let arguments: Vec<&str> = arguments.lines().skip(2).collect();
        match kind {
            HookKind::Change => {
                assert_eq!(arguments, ["--own", "INSTANCE", "web", "MASTER", "150"]);
            }
            HookKind::BeforeActive
            | HookKind::BeforeRelease
            | HookKind::Active
            | HookKind::Backup
            | HookKind::Fault => {
                assert_eq!(arguments, ["--own"]);
            }
        }
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect(name).trim()
}

/// The runner itself gets an open descriptor, ignored signals, a strange
/// umask, nice value, core limit and environment to pass on.
fn nothing_is_inherited() {
    let mut host = Host::new();
    host.check("probe", 5000, NOTES);
    let list = json!(["/bin/ls", "-m", "/proc/self/fd"]);
    host.check_command("descriptors", 5000, list, None);
    let strange = "ulimit -c unlimited; umask 077; trap '' USR1 PIPE HUP; exec 9</etc/passwd; \
                   SECRET=1 exec nice -n 5 \"$0\" \"$@\"";
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", strange])
        .arg(std::env::current_exe().unwrap());
    shell.current_dir(host.shared());
    host.run_with(shell, &[]);
    let inherited = fs::read_link(format!("/proc/{}/fd/9", host.runner_pid())).unwrap();
    assert_eq!(inherited, Path::new("/etc/passwd"));

    let mut wire = host.wire();
    // The last one is that of the listing itself.
    assert_eq!(wire.check("descriptors").output(), "0, 1, 2, 3");
    assert_eq!(wire.check("probe").verdict(), "passed");
    assert!(!noted(&host, "check-probe", "env").contains("SECRET"));
    assert_eq!(noted(&host, "check-probe", "places"), "/\n/dev/null\n");
    assert_eq!(noted(&host, "check-probe", "umask"), "0022\n");
    let status = noted(&host, "check-probe", "status");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
    // Who is not root could not end what gained rights.
    let root = nix::unistd::Uid::effective().is_root();
    assert_eq!(field(&status, "NoNewPrivs"), if root { "0" } else { "1" });
    let limits = noted(&host, "check-probe", "limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));

    let stat = noted(&host, "check-probe", "stat");
    let pid = stat.split(' ').next().unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    // Counted from `state`, the third: pgrp, session; nice; policy.
    assert_eq!(fields[2..4], [pid, pid]);
    assert_eq!(fields[38], "0");
    if nix::unistd::Uid::effective().is_root() {
        assert_eq!(fields[16], "0");
    }
}

fn rights_are_dropped() {
    let mut host = Host::new();
    host.check("probe", 5000, NOTES);
    host.run();
    assert_eq!(host.wire().check("probe").verdict(), "passed");
    let status = noted(&host, "check-probe", "status");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let four = |id: &str| [id; 4].join("\t");
    assert_eq!(field(&status, "Uid"), four(&uid));
    assert_eq!(field(&status, "Gid"), four(&gid));
    assert_eq!(field(&status, "Groups"), gid);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    // As from a login: `ping` and `sudo` work.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(field(&status, "CapBnd"), field(&own, "CapBnd"));
    assert_eq!(field(&status, "NoNewPrivs"), "0");
}

fn root_only_where_it_is_written() {
    let mut host = Host::new();
    let path = host.write("probe", NOTES);
    host.check_command("root", 5000, json!([path]), Some("root"));
    host.check_command("stranger", 5000, json!([path]), Some("no-such-user"));
    host.run();
    let mut wire = host.wire();
    assert_eq!(wire.check("root").verdict(), "passed");
    let status = noted(&host, "probe", "status");
    assert_eq!(field(&status, "Uid"), "0\t0\t0\t0");
    assert_ne!(field(&status, "CapEff"), "0000000000000000");
    assert_eq!(field(&status, "CapInh"), "0000000000000000");
    assert_eq!(field(&status, "CapAmb"), "0000000000000000");
    let refused = wire.check("stranger").verdict();
    assert!(
        refused.starts_with("refused: there is no user no-such-user"),
        "{refused}"
    );
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn what_must_not_be_run() {
    let mut host = Host::new();
    let path = |name: &str| host.path(name);
    mode(&host.write("not-executable", ""), 0o644);
    mode(&host.write("of-group", ""), 0o775);
    mode(&host.write("of-all", ""), 0o757);
    symlink(path("of-all"), path("link")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    fs::create_dir(path("directory")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let good = host.write("good", "");
    symlink("good", path("good-link")).unwrap();
    let cases = [
        (path("missing"), "does not exist"),
        (path("none/missing"), "none does not exist"),
        (path("good/missing"), "in the place of a directory"),
        (path("directory"), "is a directory"),
        (path("fifo"), "is a FIFO"),
        (path("not-executable"), "is not executable; `chmod +x "),
        (path("of-group"), "by its group (mode 0775)"),
        (path("of-all"), "by everybody (mode 0757)"),
        (path("link"), "of-all can be written by everybody"),
        (path("loop"), "symbolic links"),
        ("relative/check".into(), "is no absolute path"),
        ("".into(), "is no absolute path"),
    ];
    for (number, (path, sentence)) in cases.iter().enumerate() {
        let refusal = inspect(path, false).unwrap_err().to_string();
        assert!(refusal.contains(sentence), "{refusal}");
        host.check_command(&number.to_string(), 1000, json!([path]), None);
    }
    assert_eq!(inspect(&good, false), Ok(()));
    assert_eq!(inspect(&host.path("good-link"), false), Ok(()));
    host.run();
    let mut wire = host.wire();
    for (number, (_, sentence)) in cases.iter().enumerate() {
        let verdict = wire.check(&number.to_string()).verdict();
        assert!(verdict.starts_with("refused: "), "{verdict}");
        assert!(verdict.contains(sentence), "{verdict}");
    }
}

fn what_cannot_be_run() {
    let mut host = Host::new();
    let text = host.write("text", "");
    fs::write(&text, "just words\n").unwrap();
    let lost = host.write("lost", "");
    fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    host.check_command("text", 1000, json!([text]), None);
    host.check_command("lost", 1000, json!([lost]), None);
    host.check_command("empty", 1000, json!([]), None);
    host.run();
    let mut wire = host.wire();
    for (name, sentence) in [
        ("text", "begins with a line such as #!/bin/sh"),
        ("lost", "first line (#!) does not exist"),
        ("empty", "the command is empty"),
    ] {
        let verdict = wire.check(name).verdict();
        assert!(verdict.starts_with("refused: "), "{verdict}");
        assert!(verdict.contains(sentence), "{verdict}");
    }
}

fn what_others_could_exchange() {
    let mut host = Host::new();
    let theirs = host.write("theirs", "");
    chown(&theirs, Some(65534), None).unwrap();
    let refusal = inspect(&theirs, true).unwrap_err();
    assert!(
        matches!(refusal, Refusal::Owner { uid: 65534, .. }),
        "{refusal}"
    );
    assert_eq!(inspect_for(&theirs, true, Some(65534)), Ok(()));
    assert!(inspect_for(&theirs, true, Some(1)).is_err());
    assert_eq!(inspect(&theirs, false), Ok(()));

    // Anybody may put another file there: the directory of shared notes.
    let shared = host.shared();
    fs::copy(host.write("good", ""), shared.join("good")).unwrap();
    let refusal = inspect(&shared.join("good"), true).unwrap_err().to_string();
    assert!(
        refusal.contains("shared can be written by everybody"),
        "{refusal}"
    );
    symlink(shared.join("good"), host.path("way")).unwrap();
    assert!(inspect(&host.path("way"), true).is_err());
    let nobodys = host.path("nobodys");
    symlink(host.path("good"), &nobodys).unwrap();
    std::os::unix::fs::lchown(&nobodys, Some(65534), None).unwrap();
    assert!(inspect(&nobodys, true).is_err());
    let theirs = host.path("directory");
    fs::create_dir(&theirs).unwrap();
    fs::copy(host.path("good"), theirs.join("good")).unwrap();
    assert_eq!(inspect(&theirs.join("good"), true), Ok(()));
    chown(&theirs, Some(65534), None).unwrap();
    assert!(inspect(&theirs.join("good"), true).is_err());
    // Unless only the owner of a file there may replace it.
    mode(&shared, 0o1777);
    assert_eq!(inspect(&shared.join("good"), true), Ok(()));

    // What the user itself may not execute, only the kernel knows.
    let closed = host.write("closed", "");
    mode(&closed, 0o700);
    host.check_command("closed", 1000, json!([closed]), None);
    host.run();
    let verdict = host.wire().check("closed").verdict();
    assert!(
        verdict.contains("may not be executed by nobody"),
        "{verdict}"
    );
}
