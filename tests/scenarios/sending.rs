//! Whoever cannot be heard does not claim, and gives up what others will
//! claim.

use rstest::rstest;
use vipward::agent::action::Action;
use vipward::agent::event::Event;
use vipward::agent::report::Fact;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::{Counter, Reason, StateName};

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

fn mute(lab: &mut Lab, host: HostId, mute: bool) {
    let error = mute.then(|| "Operation not permitted".to_owned());
    lab.at_mut(host).kernel.refuse_send = error;
}

fn pair() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(10));
    lab.mark();
    (lab, a, b)
}

/// Before its peer claims: nobody else can tell it to.
#[test]
fn an_active_that_cannot_be_heard_gives_up_before_others_claim() {
    let (mut lab, a, b) = pair();
    mute(&mut lab, a, true);
    let until_b = lab.run_until(b, ACTIVE, secs(10));
    let gone = lab.transitions(a);
    let [(at, BACKUP, Reason::CannotSend)] = gone[..] else {
        panic!("{gone:?}");
    };
    assert!(at < until_b, "{at:?}, {until_b:?}");
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_none());
    assert_eq!(lab.obstacles(a), ["cannot-send"]);
    assert_eq!(lab.state(a), BACKUP);
}

/// With every claim it finds out, and says nothing else.
#[test]
fn a_backup_that_cannot_send_does_not_claim() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    mute(&mut lab, a, true);
    lab.start(a);
    lab.run(secs(120));
    assert_eq!(lab.added(a), []);
    assert_eq!(lab.announcements(a), []);
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.obstacles(a), ["cannot-send"]);
    let lines = lab.count_facts(a, |fact| {
        matches!(fact, Fact::NotSent { claiming: true, .. })
    });
    assert!((1..=3).contains(&lines), "{lines} lines in two minutes");
    assert!(lab.counted(a, Counter::SendError) > 30);
    // Its hooks were told once that it is a Backup: nothing changed since.
    assert_eq!(lab.transitions(a).len(), 1);
}

/// Where the peers wait for no Skew_Time the last try comes a moment after
/// their patience. That is no stall: it gives up then, not an interval later.
#[test]
fn a_moment_late_it_still_gives_up_by_its_last_try() {
    let (mut lab, a, _) = crate::nodes::settled(2);
    mute(&mut lab, a, true);
    while lab.counted(a, Counter::SendError) < 2 {
        assert!(lab.elapsed() < secs(5), "nothing is refused");
        lab.step();
    }
    lab.run(ms(999));
    lab.pause_for(a, us(1_100));
    lab.run(ms(1));
    assert_eq!(lab.status(a).reason, Reason::CannotSend);
    assert_eq!(lab.state(a), BACKUP);
    let stalls = lab.count_facts(a, |fact| matches!(fact, Fact::Stalled { .. }));
    assert_eq!(stalls, 0);
}

/// With the peer link it would preempt by agreement. It finds out by claims of
/// its own instead, which disturb nobody and say nothing.
#[test]
fn one_that_cannot_send_asks_nobody_to_hand_over() {
    let (mut lab, a, b) = crate::nodes::settled(2);
    mute(&mut lab, a, true);
    lab.run_until(b, ACTIVE, secs(10));
    lab.mark();
    lab.run(secs(120));
    assert_eq!(lab.transitions(b), []);
    for host in [a, b] {
        let moves = lab.count_facts(host, |fact| matches!(fact, Fact::Move(_)));
        assert_eq!(moves, 0);
    }
    assert!(lab.counted(a, Counter::SendError) > 30);
    mute(&mut lab, a, false);
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(secs(1));
    assert_eq!(lab.state(b), BACKUP);
}

#[test]
fn it_comes_back_as_backup_with_its_ordinary_timer() {
    let (mut lab, a, b) = pair();
    mute(&mut lab, a, true);
    lab.run_until(b, ACTIVE, secs(10));
    lab.run(secs(20));
    mute(&mut lab, a, false);
    lab.mark();
    // It preempts at the end of the timer that runs.
    let back = lab.run_until(a, ACTIVE, secs(10));
    assert!(back <= ms(3_220), "{back:?}");
    lab.run(ms(10));
    assert_eq!(lab.obstacles(a), [""; 0]);
    assert!(lab.holds(a, WEB).is_some());
    assert!(lab.holds(b, WEB).is_none());
}

/// A moment without buffers is none of the peers' business.
#[test]
fn what_its_peers_have_patience_for_costs_nothing() {
    let (mut lab, a, b) = pair();
    mute(&mut lab, a, true);
    lab.run(ms(2_500));
    mute(&mut lab, a, false);
    lab.run(secs(10));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
}

#[rstest]
fn it_gives_up_by_its_own_down_after(#[values(1, 2, 3, 5)] down_after: u8) {
    let mut lab = Lab::new();
    let a = lab.host(vec![InstanceSettings {
        down_after,
        ..web(200)
    }]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(10));
    lab.mark();
    mute(&mut lab, a, true);
    let gone = lab.run_until(a, BACKUP, secs(10));
    assert_eq!(gone, secs(u64::from(down_after)));
}

/// Some peers were served: they know that we live.
#[test]
fn one_destination_out_of_several_costs_nothing() {
    let (mut lab, a, _) = pair();
    mute(&mut lab, a, true);
    lab.at_mut(a).kernel.serves_some = true;
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.counted(a, Counter::SendError), 20);
}

#[test]
fn an_owner_that_cannot_send_waits_as_backup() {
    let mut lab = Lab::new();
    let a = lab.host(vec![InstanceSettings {
        addresses: vec![address("192.0.2.1/24")],
        ..web(255)
    }]);
    mute(&mut lab, a, true);
    lab.start(a);
    lab.run(secs(10));
    assert_eq!(lab.state(a), BACKUP);
    mute(&mut lab, a, false);
    lab.run(secs(4));
    assert_eq!(lab.state(a), ACTIVE);
}

/// Its lease runs out first; it is not put back by one whom nobody hears.
#[test]
fn an_address_that_ran_out_in_silence_stays_away() {
    let mut lab = Lab::new();
    let a = lab.host(vec![InstanceSettings {
        lease: vipward::agent::values::Lease::from_seconds(2),
        ..web(200)
    }]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(10));
    lab.mark();
    mute(&mut lab, a, true);
    lab.run(ms(2_500));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.obstacles(a), ["cannot-send"]);
    assert!(lab.holds(a, WEB).is_none());
    assert_eq!(lab.added(a), []);
    // The next one leaves just before it would have given up.
    mute(&mut lab, a, false);
    lab.run(ms(600));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.obstacles(a), [""; 0]);
}

/// Whoever carries advertisements out always answers; were it to forget, the
/// instance would not wait for ever.
#[test]
fn a_claim_of_which_nothing_is_heard_is_given_up() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.start(a);
    let agent = lab.at_mut(a).agent.as_mut().expect("it runs");
    let mut sent = Vec::new();
    let mut claims = START;
    while !sent
        .iter()
        .any(|action| matches!(action, Action::Advertise { .. }))
    {
        (claims, _) = agent.deadline().expect("it waits");
        sent = agent.handle(claims, Event::Wake);
        sent.retain(|action| !matches!(action, Action::Report(_)));
    }
    assert!(
        matches!(sent[..], [Action::Advertise { priority: 200, .. }]),
        "{sent:?}"
    );
    let (given_up, _) = agent.deadline().expect("it waits for the answer");
    assert_eq!(given_up, claims + secs(1));
    agent.handle(given_up, Event::Wake);
    let status = agent.status();
    assert_eq!(status.instances[0].state, BACKUP);
    assert_eq!(status.instances[0].reason, Reason::Startup);
    assert_eq!(status.instances[0].obstacles[0].code, "cannot-send");
    assert!(agent.deadline().is_some_and(|(at, _)| at > given_up));
}
