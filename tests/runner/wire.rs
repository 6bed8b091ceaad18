//! The socket: who may speak, and what is understood.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use vipward::agent::jobs::HookKind;

use crate::Test;
use crate::host::{Host, Wire, call};

pub const TESTS: &[Test] = &[
    (
        "wire::what_is_not_understood_ends_the_connection",
        what_is_not_understood,
    ),
    (
        "wire::a_newer_agent_replaces_the_older",
        a_newer_agent_replaces_the_older,
    ),
    (
        "wire::only_names_of_the_configuration_are_run",
        only_names_are_run,
    ),
    (
        "wire::one_who_does_not_read_is_left",
        one_who_does_not_read_is_left,
    ),
    (
        "wire::another_version_makes_place",
        another_version_makes_place,
    ),
];

fn what_is_not_understood() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0").run();
    let long = vec![b' '; 256 * 1024];
    let long_frame = [&262_145_u32.to_be_bytes()[..], &long].concat();
    let frames: [(&str, Vec<u8>); 6] = [
        ("a length of 4 GiB", vec![0xff; 4]),
        ("one byte too many", long_frame),
        ("no JSON", [&4_u32.to_be_bytes()[..], b"\0\xff{]"].concat()),
        ("nothing", 0_u32.to_be_bytes().to_vec()),
        (
            "an unknown request",
            frame(r#"{"ask":"run","command":["/bin/sh"]}"#),
        ),
        (
            "an unknown key",
            frame(r#"{"ask":"check","id":1,"name":"good","command":["/bin/id"]}"#),
        ),
    ];
    for (what, bytes) in frames {
        let mut wire = host.wire();
        // The runner may have closed before all of it was written.
        let _ = wire.0.write_all(&bytes);
        assert!(wire.receive().is_none(), "{what}");
    }
    let mut wire = Wire::connect(&host);
    wire.order_check(1, "good");
    assert!(wire.receive().is_none(), "an order before the greeting");
    let mode = std::fs::metadata(vipward::runner::socket_path(&host.runtime_dir()));
    assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(host.wire().check("good").verdict(), "passed");
}

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn a_newer_agent_replaces_the_older() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0").run();
    let mut older = host.wire();
    assert_eq!(older.check("good").verdict(), "passed");
    let mut newer = host.wire();
    assert!(older.receive().is_none());
    assert_eq!(newer.check("good").verdict(), "passed");
}

fn only_names_are_run() {
    let mut host = Host::new();
    let path = host.write("hook", "exit 0");
    host.hook("web", HookKind::Active, 5000, &path);
    host.run();
    let mut wire = host.wire();
    wire.order_hook(1, "web", "active");
    assert_eq!(wire.done(1).verdict(), "passed");
    for (instance, hook) in [("web", "fault"), ("mail", "active"), ("web", "/bin/sh")] {
        wire.order_hook(2, instance, hook);
        let verdict = wire.done(2).verdict();
        assert!(
            verdict.starts_with("refused: there is no hook"),
            "{verdict}"
        );
    }
    for (key, value) in [
        ("word", "master; id"),
        ("state", "() { :;}; id"),
        ("previous", "UP"),
        ("reason", "a\nb"),
    ] {
        let mut call = call("web", "active");
        call[key] = json!(value);
        wire.send(&json!({"ask": "hook", "id": 3, "call": call}));
        let verdict = wire.done(3).verdict();
        assert!(verdict.contains("words that do not exist"), "{verdict}");
    }
}

/// Many answers for one who never reads any: the connection ends, the runner
/// does not grow, and the next agent is served.
fn one_who_does_not_read_is_left() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0").run();
    let mut wire = host.wire();
    wire.0
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let order = frame(r#"{"ask":"check","id":1,"name":"unknown"}"#).repeat(1000);
    let mut refused = false;
    for _ in 0..100 {
        if wire.0.write_all(&order).is_err() {
            refused = true;
            break;
        }
    }
    assert!(refused, "a hundred thousand answers are kept");
    assert_eq!(host.wire().check("good").verdict(), "passed");
}

fn another_version_makes_place() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0");
    let exe = std::env::current_exe().unwrap();
    host.run_with(std::process::Command::new(exe), &["--started-by-agent"]);
    let mut wire = Wire::connect(&host);
    wire.send(&json!({"ask": "hello", "protocol": 1, "version": "0.0.0", "config": "/other"}));
    let hello = wire.receive().expect("a greeting");
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    assert!(wire.receive().is_none());
    assert!(host.ended().success());
}
