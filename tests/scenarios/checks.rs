//! Checks that are not run: files whose numbers count, combinations of others;
//! and failures that are early warnings.

use vipward::agent::event::FileRead;
use vipward::agent::jobs::{CheckName, JobResult, Task, Verdict};
use vipward::agent::settings::{
    CheckSettings, CheckSource, CheckUse, Combination, GroupSettings, InstanceSettings, OnFail,
};
use vipward::agent::status::{CheckState, CheckStatus, StateName};
use vipward::agent::values::GroupName;

use crate::kit::host::Input;
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

fn check(name: &str, source: CheckSource) -> CheckSettings {
    CheckSettings {
        name: CheckName::new(name),
        source,
        interval: secs(1),
        timeout: secs(1),
        rise: 1,
        fall: 1,
        initial: None,
        on_fail: OnFail::Fault,
    }
}

fn asked(name: &str) -> CheckSettings {
    let question = name.to_owned();
    check(name, CheckSource::Elsewhere { question })
}

fn file(name: &str) -> CheckSettings {
    check(name, CheckSource::File(format!("/run/{name}").into()))
}

fn combined(name: &str, needed: usize, members: &[&str]) -> CheckSettings {
    let members = members.iter().map(|name| CheckName::new(name)).collect();
    check(
        name,
        CheckSource::Combination(Combination { needed, members }),
    )
}

fn listening(value: u8, names: &[&str]) -> InstanceSettings {
    let mut settings = web(value);
    let uses = names.iter().map(|name| CheckUse {
        name: CheckName::new(name),
        weight: None,
    });
    settings.checks = uses.collect();
    settings
}

fn host_with(lab: &mut Lab, settings: InstanceSettings, checks: &[CheckSettings]) -> HostId {
    let host = lab.host(vec![settings]);
    lab.at_mut(host).settings.checks = checks.to_vec();
    host
}

fn says(lab: &mut Lab, host: HostId, name: &str, number: Result<i64, &str>) {
    let path = format!("/run/{name}").into();
    let number = number.map_err(str::to_owned);
    lab.feed(host, Input::FileRead(FileRead { path, number }));
}

/// Answers the newest order of this check.
fn answer(lab: &mut Lab, host: HostId, name: &str, well: bool) {
    let orders = lab.started(host).into_iter().rev();
    let mut orders = orders.map(|(_, job)| job.clone());
    let of_it = |task: &Task| matches!(task, Task::Check(check) if check.as_str() == name);
    let job = orders.find(|job| of_it(&job.task)).expect("an order");
    let verdict = match well {
        true => Verdict::Passed,
        false => Verdict::Failed("exit code 1".to_owned()),
    };
    let result = JobResult {
        verdict,
        duration: ms(4),
        output: String::new(),
    };
    lab.feed(
        host,
        Input::Done {
            job: job.id,
            result,
        },
    );
}

/// The same for all, each second.
fn answers(lab: &mut Lab, host: HostId, wells: &[(&str, bool)]) {
    lab.run(secs(1));
    for (name, well) in wells {
        answer(lab, host, name, *well);
    }
}

fn shown(lab: &Lab, host: HostId, name: &str) -> CheckStatus {
    let status = lab.at(host).agent.as_ref().expect("it runs").status();
    let mut checks = status.checks.into_iter();
    checks
        .find(|check| check.name.as_str() == name)
        .expect("it")
}

fn codes(lab: &Lab, host: HostId) -> Vec<(&'static str, String)> {
    let obstacles = lab.status(host).obstacles.into_iter();
    obstacles.map(|found| (found.code, found.text)).collect()
}

/// Active by its file, which says 0.
fn by_file() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, &["flag"]), &[file("flag")]);
    let b = lab.host(vec![web(120)]);
    lab.start(a);
    lab.start(b);
    says(&mut lab, a, "flag", Ok(0));
    lab.run(secs(5));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.mark();
    (lab, a, b)
}

#[test]
fn until_a_file_was_read_the_instance_waits() {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, &["flag"]), &[file("flag")]);
    lab.start(a);
    lab.run(secs(5));
    assert_eq!(lab.state(a), StateName::Initialize);
    assert_eq!(lab.started(a), [], "nothing is run for it");
    says(&mut lab, a, "flag", Err("/run/flag does not exist"));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.status(a).effective_priority.get(), 150);
    assert_eq!(
        codes(&lab, a),
        [("no-number", "/run/flag does not exist".to_owned())]
    );
}

#[test]
fn the_number_of_a_file_is_in_the_next_advertisement_and_moves_the_address() {
    let (mut lab, a, b) = by_file();
    says(&mut lab, a, "flag", Ok(-20));
    lab.run(secs(1));
    assert_eq!(
        lab.sent(a).first().map(|(_, priority)| *priority),
        Some(130)
    );
    let terms = lab.status(a).priority_terms;
    assert_eq!(
        (terms[0].source.as_str(), terms[0].delta),
        ("check flag", -20)
    );
    assert_eq!(lab.state(a), ACTIVE, "still the best");
    says(&mut lab, a, "flag", Ok(-50));
    lab.run(secs(5));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    says(&mut lab, a, "flag", Ok(7));
    assert_eq!(lab.status(a).effective_priority.get(), 157);
    lab.run(secs(5));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(shown(&lab, a, "flag").number, Some(7));
}

#[test]
fn numbers_beyond_the_range_of_priorities_count_as_its_ends() {
    let (mut lab, a, _) = by_file();
    for (number, priority, told) in [
        (i64::MIN, 1, "-9223372036854775808 counts as -254"),
        (-254, 1, "-254"),
        (254, 254, "254"),
        (1_000, 254, "1000 counts as 254"),
    ] {
        says(&mut lab, a, "flag", Ok(number));
        assert_eq!(lab.status(a).effective_priority.get(), priority);
        let output = shown(&lab, a, "flag").output;
        assert!(output.starts_with(told), "{output}");
    }
}

#[test]
fn without_a_number_nothing_is_added_and_nothing_stands_in_the_way() {
    let (mut lab, a, _) = by_file();
    says(&mut lab, a, "flag", Ok(-10));
    says(&mut lab, a, "flag", Err("/run/flag is empty"));
    assert_eq!(lab.status(a).effective_priority.get(), 150);
    assert_eq!(lab.status(a).priority_terms, []);
    assert_eq!(shown(&lab, a, "flag").state, CheckState::Down);
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(codes(&lab, a).len(), 1);
    says(&mut lab, a, "flag", Ok(-10));
    assert_eq!(lab.status(a).effective_priority.get(), 140);
    assert_eq!(codes(&lab, a), []);
}

#[test]
fn a_file_that_nobody_follows_is_nothing() {
    let (mut lab, a, _) = by_file();
    says(&mut lab, a, "other", Ok(-100));
    assert_eq!(lab.status(a).effective_priority.get(), 150);
}

#[test]
fn the_file_of_one_member_counts_for_its_group() {
    let mut lab = Lab::new();
    let mut second = web(150);
    second.name = vipward::agent::values::InstanceName::new("second");
    second.vrid = vipward::agent::values::Vrid::new(52).expect("not zero");
    second.addresses = vec![address("192.0.2.99/24")];
    let names = ["web", "second"].map(vipward::agent::values::InstanceName::new);
    let a = lab.host(vec![listening(150, &["flag"]), second]);
    let settings = &mut lab.at_mut(a).settings;
    settings.checks = vec![file("flag")];
    settings.groups = vec![GroupSettings {
        name: GroupName::new("both"),
        members: names.into(),
        hooks: Default::default(),
    }];
    lab.start(a);
    says(&mut lab, a, "flag", Ok(-30));
    lab.run(secs(5));
    let status = lab.at(a).agent.as_ref().expect("it runs").status();
    let priorities: Vec<u8> = status
        .instances
        .iter()
        .map(|instance| instance.effective_priority.get())
        .collect();
    assert_eq!(priorities, [120, 120]);
}

/// Three services of which two must be well.
fn by_majority() -> (Lab, HostId) {
    let mut lab = Lab::new();
    let checks = [
        asked("x"),
        asked("y"),
        asked("z"),
        combined("most", 2, &["x", "y", "z"]),
    ];
    let a = host_with(&mut lab, listening(150, &["most"]), &checks);
    lab.start(a);
    (lab, a)
}

#[test]
fn a_combination_is_known_as_soon_as_its_members_decide() {
    let (mut lab, a) = by_majority();
    lab.run(ms(10));
    answer(&mut lab, a, "x", true);
    assert_eq!(lab.state(a), StateName::Initialize);
    assert_eq!(shown(&lab, a, "most").state, CheckState::Unknown);
    answer(&mut lab, a, "z", true);
    assert_eq!(lab.state(a), BACKUP, "the third can change nothing");
    let (mut lab, a) = by_majority();
    lab.run(ms(10));
    answer(&mut lab, a, "x", false);
    answer(&mut lab, a, "y", false);
    assert_eq!(lab.state(a), FAULT);
}

#[test]
fn a_combination_follows_its_members_in_the_same_turn() {
    let (mut lab, a) = by_majority();
    let all = |x, y, z| [("x", x), ("y", y), ("z", z)];
    for _ in 0..6 {
        answers(&mut lab, a, &all(true, true, true));
    }
    assert_eq!(lab.state(a), ACTIVE);
    answers(&mut lab, a, &all(true, false, true));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    lab.run(secs(1));
    answer(&mut lab, a, "z", false);
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.sent(a).last(), Some(&(lab.elapsed(), 0)));
    let text = "1 of 3 is up, 2 must be: y: exit code 1; z: exit code 1";
    assert_eq!(codes(&lab, a), [("check-failed", text.to_owned())]);
    answer(&mut lab, a, "y", true);
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn combinations_of_combinations_are_worked_out_whatever_their_names() {
    let mut lab = Lab::new();
    let checks = [
        combined("a-outer", 2, &["b-middle", "x"]),
        combined("b-middle", 1, &["c-inner", "y"]),
        combined("c-inner", 2, &["x", "z"]),
        asked("x"),
        asked("y"),
        asked("z"),
    ];
    let a = host_with(&mut lab, listening(150, &["a-outer"]), &checks);
    lab.start(a);
    lab.run(ms(10));
    for (name, well) in [("x", true), ("y", false), ("z", true)] {
        answer(&mut lab, a, name, well);
    }
    assert_eq!(lab.state(a), BACKUP);
    answers(&mut lab, a, &[("x", true), ("y", false), ("z", false)]);
    assert_eq!(lab.state(a), FAULT);
    for name in ["a-outer", "b-middle", "c-inner"] {
        assert_eq!(shown(&lab, a, name).state, CheckState::Down, "{name}");
    }
}

#[test]
fn a_combination_begins_by_what_its_members_begin_with() {
    let mut lab = Lab::new();
    let mut up = asked("x");
    up.initial = Some(CheckState::Up);
    let checks = [combined("any", 1, &["x", "y"]), up, asked("y")];
    let a = host_with(&mut lab, listening(150, &["any"]), &checks);
    lab.start(a);
    lab.run(ms(10));
    assert_eq!(lab.state(a), BACKUP);
    let mut lab = Lab::new();
    let mut any = combined("any", 1, &["x", "y"]);
    any.initial = Some(CheckState::Up);
    let checks = [any, asked("x"), asked("y")];
    let a = host_with(&mut lab, listening(150, &["any"]), &checks);
    lab.start(a);
    lab.run(ms(10));
    assert_eq!(lab.state(a), BACKUP, "its own word, until they are known");
    answer(&mut lab, a, "x", false);
    assert_eq!(lab.state(a), BACKUP);
    answer(&mut lab, a, "y", false);
    assert_eq!(lab.state(a), FAULT);
}

#[test]
fn a_reload_that_changes_the_members_recombines_at_once() {
    let (mut lab, a) = by_majority();
    lab.run(ms(10));
    for (name, well) in [("x", true), ("y", false), ("z", false)] {
        answer(&mut lab, a, name, well);
    }
    assert_eq!(lab.state(a), FAULT);
    let mut settings = lab.at(a).settings.clone();
    settings.checks[3] = combined("most", 1, &["x", "y"]);
    lab.feed(a, Input::Reload(Box::new(settings)));
    assert_eq!(lab.state(a), BACKUP, "x is still known to be up");
}

/// Settings are free of circles; an agent that is given one all the same ends.
#[test]
fn a_circle_is_no_end() {
    let mut lab = Lab::new();
    let checks = [
        combined("a", 1, &["b", "x"]),
        combined("b", 1, &["a", "nowhere"]),
        asked("x"),
    ];
    let host = host_with(&mut lab, listening(150, &["a"]), &checks);
    lab.start(host);
    lab.run(ms(10));
    answer(&mut lab, host, "x", true);
    assert_eq!(lab.state(host), BACKUP);
}

#[test]
fn an_early_warning_is_shown_and_takes_nothing() {
    let mut lab = Lab::new();
    let mut disk = asked("disk");
    disk.on_fail = OnFail::Handover;
    let a = host_with(&mut lab, listening(150, &["disk"]), &[disk]);
    lab.start(a);
    lab.run(ms(10));
    answer(&mut lab, a, "disk", true);
    for _ in 0..5 {
        answers(&mut lab, a, &[("disk", true)]);
    }
    assert_eq!(lab.state(a), ACTIVE);
    answers(&mut lab, a, &[("disk", false)]);
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.status(a).effective_priority.get(), 150);
    assert_eq!(
        codes(&lab, a),
        [("early-warning", "exit code 1".to_owned())]
    );
    assert_eq!(shown(&lab, a, "disk").on_fail, OnFail::Handover);
    answers(&mut lab, a, &[("disk", true)]);
    assert_eq!(codes(&lab, a), []);
}

#[test]
fn runs_are_counted_with_how_long_they_took() {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(100, &["x"]), &[asked("x")]);
    lab.start(a);
    for well in [true, false, true, true] {
        answers(&mut lab, a, &[("x", well)]);
    }
    let tally = shown(&lab, a, "x").tally;
    assert_eq!((tally.durations.count(), tally.failures), (4, 1));
    assert_eq!(tally.durations.sum(), ms(16));
}
