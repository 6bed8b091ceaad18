//! The language: comments, quotes, definitions, conditions, sequences, files.
//! What is expected was seen of keepalived 2.2.7, by its dump of what it read.

use rstest::rstest;

use crate::kit::{Memory, Outcome, imported, instance};

fn addresses(outcome: &Outcome) -> Vec<String> {
    let [instance] = &outcome.loaded().settings.instances[..] else {
        panic!("one instance: {}", outcome.yaml());
    };
    let addresses = instance.addresses.iter();
    addresses
        .map(|address| address.network.addr().to_string())
        .collect()
}

fn priority(outcome: &Outcome) -> u8 {
    outcome.loaded().settings.instances[0].priority.get()
}

#[rstest]
#[case("priority 90 # a comment }\n priority 80 ! another", 80)]
#[case("# priority 90\n! priority 80", 100)]
#[case("priority 90}\n vrrp_script x {", 90)]
#[case("virtual_ipaddress { 192.0.2.11/24 } priority 90", 90)]
#[case("priority\t90\r", 90)]
#[case("priority \"90\"", 90)]
#[case("priority '90'", 90)]
#[case("priority \\x39\\60", 90)]
fn a_line_is_read_as_keepalived_reads_it(#[case] lines: &str, #[case] expected: u8) {
    assert_eq!(priority(&imported(&instance(lines))), expected);
}

#[rstest]
#[case("$P=70\n", "priority $P", 70)]
#[case("$P=7\n", "priority ${P}0", 70)]
#[case("$P=${Q}0\n$Q=7\n", "priority $P", 70)]
#[case("$L= \\\n  priority 70 \\\n  advert_int 2\n", "$L", 70)]
#[case("$IF=@lb1\n", "$IF priority 70", 70)]
#[case("$IF=@lb2\n", "$IF priority 70", 100)]
#[case("", "@lb1 priority 70", 70)]
#[case("", "@^lb2 priority 70", 70)]
#[case("", "@lb2 priority 70", 100)]
#[case("", "@^lb1 priority 70", 100)]
#[case("@lb1 $P=70\n@lb2 $P=60\n", "priority $P", 70)]
#[case("$P=60\n$P=70\n", "priority $P", 70)]
fn definitions_and_conditions(#[case] head: &str, #[case] line: &str, #[case] expected: u8) {
    let outcome = imported(&format!("{head}{}", instance(line)));
    assert_eq!(priority(&outcome), expected, "{}", outcome.yaml());
}

#[rstest]
#[case("~SEQ(A, 11, 13) 192.0.2.$A", &["11", "12", "13"])]
#[case("~SEQ(A, 11, 2, 15) 192.0.2.${A}/24", &["11", "13", "15"])]
#[case("~SEQ(A, 3) 192.0.2.1${A}", &["11", "12", "13"])]
#[case("~SEQ(A, 13, 12) 192.0.2.$A", &["13", "12"])]
#[case("~SEQ(A, 0x0d, -1, 0x0c) 192.0.2.$A", &["13", "12"])]
#[case("~LST(A, 11, 17) 192.0.2.$A", &["11", "17"])]
#[case("~LST({A,B}, {1,2},{3,4}) 192.0.2.${A}${B}", &["12", "34"])]
#[case("~LST(A, 1, 2) ~SEQ(B,1,2) 192.0.2.${A}${B}", &["11", "12", "21", "22"])]
fn sequences_and_lists(#[case] line: &str, #[case] expected: &[&str]) {
    let text = instance("").replace("192.0.2.10/24", &format!("\n{line}\n"));
    let expected: Vec<String> = expected
        .iter()
        .map(|last| format!("192.0.2.{last}"))
        .collect();
    assert_eq!(addresses(&imported(&text)), expected);
}

#[test]
fn a_sequence_may_be_hexadecimal() {
    let text = instance("").replace("192.0.2.10/24", "\n~SEQx(A, 14, 2, 18) 2001:db8::$A\n");
    assert_eq!(
        addresses(&imported(&text)),
        ["2001:db8::e", "2001:db8::10", "2001:db8::12"]
    );
}

#[test]
fn blocks_may_come_from_a_definition_once_for_each_value() {
    let text = "$VI= \\\nvrrp_instance VI_${N} { \\\n interface eth${N} \\\n virtual_router_id 5${N} \\\n \
                @lb1 priority 20${N} \\\n @lb2 priority 10${N} \\\n virtual_ipaddress { 10.0.${N}.1/24 } \\\n}\n\
                ~SEQ(N, 0, 2) $VI\n";
    let outcome = imported(text);
    let instances = &outcome.loaded().settings.instances;
    let seen: Vec<_> = instances
        .iter()
        .map(|one| {
            (
                one.name.to_string(),
                one.interface.to_string(),
                one.vrid.get(),
                one.priority.get(),
            )
        })
        .collect();
    let expected = [0u8, 1, 2].map(|n| (format!("VI_{n}"), format!("eth{n}"), 50 + n, 200 + n));
    assert_eq!(seen, expected);
    outcome.noted(6, "other hosts");
}

#[rstest]
#[case("notify \"/bin/echo foo \\\"x y\\\" 'q r' z\"", &["/bin/echo", "foo", "x y", "q r", "z"])]
#[case("notify /bin/echo\\ hello", &["/bin/echo", "hello"])]
#[case("notify \"/bin/echo a\\#b # c\"", &["/bin/echo", "a#b", "#", "c"])]
#[case("notify \"/bin/echo } { x !\"", &["/bin/echo", "}", "{", "x", "!"])]
#[case("notify \"/bin/echo ${_HASH} ${_BANG} $_PWD ${_INSTANCE} ${UNDEF} $UNDEF x\"",
       &["/bin/echo", "#", "!", "/etc/keepalived", "lb1", "${UNDEF}", "$UNDEF", "x"])]
#[case("notify '/bin/echo \"a b\"'", &["/bin/echo", "a b"])]
#[case("notify \"/bin/echo 'it''s' \\x41\\102\"", &["/bin/echo", "its", "AB"])]
fn the_words_of_a_program(#[case] line: &str, #[case] expected: &[&str]) {
    let outcome = imported(&instance(line));
    let work = &outcome.loaded().work;
    let [script] = &work.hooks.values().collect::<Vec<_>>()[..] else {
        panic!("one hook: {}", outcome.yaml());
    };
    assert_eq!(script.command, expected);
}

#[test]
fn files_are_included_by_patterns_from_where_they_stand() {
    let memory = Memory::new("include conf.d/*.conf\ninclude nothing/*.conf\n")
        .with("conf.d/10.conf", &instance("include more/priority.inc"))
        .with("conf.d/more/priority.inc", "priority 42\n")
        .with(
            "conf.d/20.conf",
            &instance("priority 43")
                .replace("VI_1", "VI_2")
                .replace("51", "52")
                .replace(".10/", ".11/"),
        );
    let outcome = memory.import().unwrap();
    let priorities: Vec<u8> = outcome
        .loaded()
        .settings
        .instances
        .iter()
        .map(|one| one.priority.get())
        .collect();
    assert_eq!(priorities, [42, 43]);
    outcome.noted(2, "no file matches");
    assert!(outcome.is_whole());
}

#[test]
fn a_condition_may_stand_before_an_include() {
    let memory = Memory::new(&instance("@lb1 include a.inc\n@lb2 include b.inc"))
        .with("a.inc", "priority 42\n")
        .with("b.inc", "priority 43\n");
    assert_eq!(priority(&memory.import().unwrap()), 42);
    assert_eq!(priority(&memory.import_for("lb2").unwrap()), 43);
}

#[test]
fn braces_in_a_pattern_are_alternatives() {
    let memory = Memory::new(&instance("include {a,b}.inc"))
        .with("a.inc", "priority 42\n")
        .with("b.inc", "advert_int 2\n");
    let outcome = memory.import().unwrap();
    assert_eq!(priority(&outcome), 42);
    let interval = outcome.loaded().settings.instances[0].advert_interval;
    assert_eq!(interval.as_duration().as_secs(), 2);
}

#[test]
fn a_missing_file_is_listed_and_one_that_must_be_there_is_a_fault() {
    let outcome = imported(&format!("include none.conf\n{}", instance("")));
    outcome.left(1, "no file of that name");
    let memory = Memory::new(&format!("includea none.conf\n{}", instance("")));
    let faults = crate::kit::faults(&memory);
    assert!(
        faults[0].contains("keepalived.conf:1:1: no file to include"),
        "{faults:?}"
    );
}

#[test]
fn a_definition_that_nothing_uses_is_named() {
    let outcome = imported(&format!("$A=1\n$B= \\\n x \\\n y\n{}", instance("")));
    for line in 1..=4 {
        outcome.noted(line, "not used");
    }
    assert!(outcome.is_whole());
}
