//! What is no keepalived.conf: sentences with places, in bounded time.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::kit::{Memory, faults, imported, instance};

#[rstest]
#[case(
    "vrrp_instance VI_1 {\n interface eth0\n",
    ":1:20: a block without an end"
)]
#[case(
    "vrrp_instance VI_1 {\n virtual_ipaddress {\n",
    ":2:20: 2 blocks without an end"
)]
#[case("}\n", ":1:1: a `}` that closes nothing")]
#[case("vrrp_instance VI_1 {\n}\n}\n", ":3:1: a `}` that closes nothing")]
#[case("{\n}\n", ":1:1: a `{` that belongs to nothing")]
#[case("a {\n}\n{\n}\n", ":3:1: a `{` that belongs to nothing")]
#[case("a \"b\n", ":1:3: a quote without an end")]
#[case("a 'b\n", ":1:3: a quote without an end")]
#[case("a \"b \\\" c\n", ":1:3: a quote without an end")]
#[case("$A=1\npriority ${B}\n", ":2:10: `${B}` is not defined")]
#[case("$A=${A}x\na $A\n", ":2:3: replacing `A` does not end")]
#[case("$A=$A \na $A\n", ":2:3: replacing `A` does not end")]
#[case("$A=${B}\n$B=${A}\na ${A}\n", ":3:3: replacing")]
#[case("~SEQ(A, 1, 0, 2) x\n", ":1:1: a `~` that begins no sequence")]
#[case("~SEQ(A\n", ":1:1: a `~` that begins no sequence")]
#[case("~LST({A,B}, {1}) x\n", ":1:1: a `~` that begins no sequence")]
#[case("a ${_RANDOM 1 5}\n", ":1:3: a random number")]
#[case("~SEQ(A, 1, 1000000000) a $A\n", "come to too much")]
#[case("$A= \\\n a \\\n $A \\\n b\n$A\n", "lead into each other")]
#[case(
    "include keepalived.conf\n",
    ":1:1: /etc/keepalived/keepalived.conf includes itself"
)]
fn each_fault_has_its_place(#[case] text: &str, #[case] expected: &str) {
    let found = faults(&Memory::new(text));
    let expected = match expected.starts_with(':') {
        true => format!("/etc/keepalived/keepalived.conf{expected}"),
        false => expected.to_owned(),
    };
    assert!(
        found.iter().any(|fault| fault.contains(&expected)),
        "{found:#?}"
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let found = faults(&Memory::new("a \"b\nc ${D}\ne 'f\n"));
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn a_fault_in_an_included_file_names_that_file() {
    let memory = Memory::new("\ninclude a/*.conf\n").with("a/b.conf", "\n\n x \"y\n");
    let found = faults(&memory);
    assert!(
        found[0].starts_with("/etc/keepalived/a/b.conf:3:4: a quote"),
        "{found:?}"
    );
}

#[test]
fn files_that_include_each_other() {
    let memory = Memory::new("include a.conf\n")
        .with("a.conf", "include b.conf\n")
        .with("b.conf", "include a.conf\n");
    let found = faults(&memory);
    assert!(
        found[0].starts_with("/etc/keepalived/b.conf:1:1: "),
        "{found:?}"
    );
    assert!(found[0].contains("includes itself"), "{found:?}");
}

#[test]
fn an_unset_variable_without_braces_stands_as_it_is() {
    let outcome = imported(&instance("priority $P"));
    outcome.noted(5, "no priority");
}

#[test]
fn blocks_nested_too_deeply() {
    let found = faults(&Memory::new(&"a {\n".repeat(100_000)));
    assert!(
        found[0].contains(":33:3: blocks are nested too deeply"),
        "{found:?}"
    );
}

/// Whatever is thrown at it, an answer comes soon. Room for a busy machine.
#[rstest]
#[case::quotes("\"".repeat(1_000_000))]
#[case::words("a ".repeat(1_000_000))]
#[case::lines("a\n".repeat(1_000_000))]
#[case::dollars(format!("$A=1\n{}", "$".repeat(500_000)))]
#[case::references(format!("$A=1\n{}", "$A ".repeat(20_000)))]
#[case::doubling((0..40).map(|n| format!("$A{}=${{A{n}}}${{A{n}}}\n", n + 1)).collect::<String>() + "$A0=x\na ${A40}\n")]
#[case::sequences("~SEQ(A,1,999999) ~SEQ(B,1,999999) x $A $B\n".to_owned())]
#[case::repeated("~SEQ(A,1,99999) vrrp_instance a { interface eth0 }\n".to_owned())]
#[case::instances((0..2_000).map(|n| format!("vrrp_instance a{n} {{\ninterface eth0\nvirtual_router_id 1\n\
                  virtual_ipaddress {{ 10.0.0.1 }}\n}}\n")).collect::<String>())]
#[case::addresses(format!("vrrp_instance a {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n{}}}\n}}\n",
                  "10.0.0.1\n".repeat(4_000)))]
#[case::open("a {".repeat(1_000_000))]
#[case::comment(format!("#{}", "x".repeat(4_000_000)))]
#[case::names("vrrp_instance ä { interface eth0 }\nvrrp_instance ö { interface eth0 }\n".repeat(5_000))]
fn an_answer_comes_soon(#[case] text: String) {
    let began = Instant::now();
    let outcome = Memory::new(&text).import();
    if let Err(faults) = outcome {
        assert!(faults.count() > 0);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "it took {took:?}");
}
