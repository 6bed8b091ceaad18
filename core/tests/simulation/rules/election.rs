//! The protocol: when a Backup may claim and when it must, what an Active does
//! on hearing others, the rhythm of its advertisements, the parting
//! advertisement, the announcement owed to a loser.

use vipward::agent::jobs::HookKind;
use vipward::agent::settings::GroupSettings;

use super::*;

pub(super) fn judge(
    watch: &mut Watch,
    part: &Part<'_>,
    input: &Input,
    packet: Option<&Packet>,
    before: u8,
) {
    let (was, is) = (part.was, part.is);
    if let Some(packet) = packet
        && part.is_node()
    {
        if packet.priority > 0 {
            watch.active = Some(packet.source);
        } else if was == StateName::Backup {
            watch.left = Some((part.now, true));
        }
    }
    if let Some(packet) = packet
        && (was != StateName::Active || is == StateName::Backup)
    {
        let heard = part.has_one_peer() && (packet.priority > 0 || was == StateName::Backup);
        let alone = heard && matches!(is, StateName::Backup | StateName::Active);
        // The timer moves with it, as with a priority.
        watch.moved |= watch.alone != alone;
        watch.alone = alone;
        watch.perhaps_alone = heard && !watch.alone;
    }
    match was {
        StateName::Backup if !part.anew && watch.is_loose => loose(watch, part, packet, before),
        StateName::Backup if !part.anew => backup(watch, part, input, packet, before),
        StateName::Active => active(watch, part, packet),
        StateName::Backup | StateName::Initialize | StateName::Fault | StateName::Drained => {
            if packet.is_some() && is != was {
                part.fail("an advertisement moved an instance that takes no part");
            }
        }
    }
    let takes_no_part = takes_no_part(is);
    leaves(part, input, packet);
    let fell_silent = was == StateName::Active && is != was && packet.is_none();
    if is == StateName::Active || part.anew || fell_silent || (takes_no_part && was != is) {
        watch.perhaps_alone &= takes_no_part;
        watch.alone = false;
    }
    begin(watch, part, packet);
    owed::announcements(watch, part);
    owed::partings(watch, part);
    watch.state = is;
    advertised(watch, part, input, packet);
    if is == StateName::Backup {
        let down_at = watch.latest(part.settings, part.priority);
        let claim = watch.forgiven.unwrap_or(down_at);
        // A timer that moves into the past ends at once.
        let preempt_at = watch.preempt_at.filter(|_| !watch.preempt_unsure);
        let claim = claim.min(preempt_at.unwrap_or(claim));
        let claim = claim.max(watch.held_until.unwrap_or(claim));
        watch.advert_by = claim.max(part.now);
    }
}

/// Row 9.
fn leaves(part: &Part<'_>, input: &Input, packet: Option<&Packet>) {
    let takes_no_part = takes_no_part(part.is);
    // A stop may wait, for a hook or for mates, or for a successor.
    let stopped = matches!(input, Input::Stop | Input::StopNow) && !waits_to_stop(part, input);
    // One that stops, and loses while it waits for a successor, is no Active.
    let ours = source(part.settings, part.lab.at(part.host).number);
    let beats = |packet: &Packet| (packet.priority, packet.source) > (part.priority, ours);
    // Row 12 rather than 9, whoever of its mates lost.
    let handed_over = part.stage.released.is_some() || packet.is_some_and(beats) || part.lost;
    if part.was == StateName::Active && (takes_no_part || stopped) && !handed_over {
        let ledger = &part.lab.at(part.host).ledger;
        let up = ledger.interface(part.settings.interface);
        if up.is_some_and(|state| state.up) && !part.sent.contains(&0) && !part.is_mute() {
            part.fail("left without priority 0");
        }
    }
}

fn takes_no_part(state: StateName) -> bool {
    matches!(
        state,
        StateName::Initialize | StateName::Fault | StateName::Drained
    )
}

/// For a hook, or for mates.
fn waits_to_stop(part: &Part<'_>, input: &Input) -> bool {
    let groups = &part.lab.at(part.host).ledger.groups;
    let grouped = |group: &GroupSettings| group.members.contains(&part.settings.name);
    let hooked = part.settings.hooks.contains_key(&HookKind::BeforeRelease);
    let waits = hooked || part.stage.offered || groups.iter().any(grouped);
    matches!(input, Input::Stop) && waits
}

/// Reaches the state machine.
pub(super) fn accepted(part: &Part<'_>, packet: &Packet) -> bool {
    let settings = part.settings;
    let timing = match packet.timing {
        Timing::V2 {
            interval_seconds, ..
        } => settings.advert_interval.as_seconds() == Some(interval_seconds),
        Timing::V3 { .. } => true,
        Timing::Unknown => false,
    };
    let peers = &settings.unicast_peers;
    let number = part.lab.at(part.host).number;
    packet.source != source(settings, number)
        && packet.destination.is_multicast() == peers.is_empty()
        && packet.interface == settings.interface
        && packet.family == settings.family
        && packet.vrid == settings.vrid.get()
        && packet.version == settings.version.number()
        && (peers.is_empty() || peers.contains(&packet.source))
        && timing
}

fn learned(part: &Part<'_>, packet: &Packet) -> Duration {
    match packet.timing {
        Timing::V3 {
            interval_centiseconds,
        } => Duration::from_millis(10) * u32::from(interval_centiseconds),
        Timing::V2 { .. } | Timing::Unknown => part.interval(),
    }
}

/// What a Backup makes of an advertisement.
fn heard(watch: &mut Watch, part: &Part<'_>, packet: &Packet, priority: u8) {
    let losing = packet.priority < priority;
    let preempt = match part.settings.preempt {
        _ if watch.left_to.is_some() || watch.warned => Preempt::Never,
        _ if priority == 255 => Preempt::Immediately,
        preempt => preempt,
    };
    watch.resigned_at = (packet.priority == 0).then_some(part.now);
    watch.respected = None;
    match preempt {
        _ if packet.priority == 0 => {
            watch.heard = part.now;
            watch.resigned = true;
            watch.preempt_at = None;
            watch.forgiven = None;
            watch.moved = false;
        }
        Preempt::Immediately if losing && part.stage.is_promised() => {
            watch.listens(part.now, learned(part, packet));
        }
        Preempt::Immediately if losing => {}
        Preempt::After(delay) if losing => {
            watch.preempt_at.get_or_insert(part.now + delay);
            watch.listens(part.now, learned(part, packet));
        }
        Preempt::Immediately | Preempt::After(_) | Preempt::Never => {
            watch.preempt_at = None;
            watch.respected = Some(part.now);
            watch.listens(part.now, learned(part, packet));
        }
    }
}

/// One that does not decide alone: its mates, or a hook, may keep it from a
/// claim, or bring it about.
fn loose(watch: &mut Watch, part: &Part<'_>, packet: Option<&Packet>, priority: u8) {
    if moves::asks(watch, part) {
        return;
    }
    if let Some(packet) = packet {
        heard(watch, part, packet, priority);
    }
}

/// Rows 5 to 8.
fn backup(
    watch: &mut Watch,
    part: &Part<'_>,
    input: &Input,
    packet: Option<&Packet>,
    priority: u8,
) {
    if let Some(packet) = packet {
        if part.is != StateName::Backup {
            part.fail("an advertisement ended Backup");
        }
        heard(watch, part, packet, priority);
        return;
    }
    if moves::asks(watch, part) {
        return;
    }
    if matches!(input, Input::Reload(_)) && !matches!(part.settings.preempt, Preempt::After(_)) {
        watch.preempt_at = None;
    }
    if let Some(at) = watch.forgiven {
        // It moves with the skew, as every timer does.
        let skew = |value| skew(part.settings.version, value, watch.interval);
        let at = (at + skew(part.priority)).minus(skew(priority));
        watch.forgiven = Some(at.max(part.now));
    }
    watch.moved |= priority != part.priority;
    let down_at = watch.latest(part.settings, part.priority);
    let most = if watch.moved {
        Duration::ZERO
    } else {
        watch.interval
    };
    let late = part.now.since(down_at) > most;
    if part.is != StateName::Active {
        let timed = matches!(input, Input::Wake) && part.is == StateName::Backup;
        if part.unsent && timed {
            // It tried to claim, could not, and waits anew.
            watch.listens(part.now, watch.interval);
            watch.preempt_at = None;
            watch.alone = false;
        } else if timed && part.is_node() && part.now > watch.earliest(part.settings, part.priority)
        {
            // Where its timer stood depends on what it was told.
            let skew = skew(part.settings.version, part.priority, watch.interval);
            let until = part.now + watch.interval + skew;
            if part.now.since(watch.earliest(part.settings, part.priority)) > watch.interval {
                watch.held_until = watch.held_until.max(Some(until));
            }
        } else if timed && late && watch.forgiven.is_none() {
            let skew = skew(part.settings.version, part.priority, watch.interval);
            watch.forgiven = Some(part.now + watch.interval + skew);
        }
        return;
    }
    claims(watch, part, input, down_at);
}

/// Row 5.
fn claims(watch: &Watch, part: &Part<'_>, input: &Input, down_at: Instant) {
    // The Active lets go for it, or does not and is preempted.
    if part.stage.takes() || part.stage.asked_in_vain() {
        return;
    }
    // A node may have waited for an answer.
    let answer = part.is_node() && matches!(input, Input::Link(_) | Input::Claim { .. });
    if !matches!(input, Input::Wake) && !answer {
        part.fail("claimed without its timer");
    }
    let preempts = watch.preempt_at.is_some_and(|at| at <= part.now);
    if preempts || watch.forgiven.is_some() {
        return;
    }
    let earliest = watch.earliest(part.settings, part.priority);
    if part.now + ROUNDING < earliest {
        let early = earliest.since(part.now);
        part.fail(&format!("claimed {early:?} before its time"));
    }
    let held = watch.held_until.is_some();
    if part.now.since(down_at) > watch.interval + ROUNDING && !watch.moved && !held {
        part.fail("claimed because it had been asleep itself");
    }
}

/// Rows 11 to 13.
fn active(watch: &mut Watch, part: &Part<'_>, packet: Option<&Packet>) {
    let Some(packet) = packet else {
        return;
    };
    if part.stage.ignores(part, packet) {
        // Its time may be over just now, or while this host stood still.
        if part.stage.is_over(part.now) {
            if part.is == StateName::Backup {
                watch.listens(part.now, learned(part, packet));
                watch.respected = Some(part.now);
            }
            return;
        }
        if part.is != StateName::Active {
            part.fail("gives way to the other node of a move");
        }
        if !part.sent.is_empty() {
            part.fail("answers the other node of a move");
        }
        return;
    }
    let silent = part.now.since(watch.last_advert);
    let slack = part.late_max() * 2 + ROUNDING;
    let awake = silent + slack < part.patience() && !watch.rescheduled;
    let asleep = silent > part.patience() + slack && !watch.rescheduled;
    let number = part.lab.at(part.host).number;
    let ours = (part.priority, source(part.settings, number));
    let theirs = (packet.priority, packet.source);
    if packet.priority == 0 {
        // One whose answer could not leave may give up for that.
        if part.is != StateName::Active && !part.unsent {
            part.fail("priority 0 ended Active");
        }
        if awake && part.sent != [part.priority] && !part.is_mute() {
            part.fail("priority 0 was not answered at once");
        }
        if asleep && !part.sent.is_empty() {
            part.fail("one that was asleep answers priority 0 from its queue");
        }
        return;
    }
    let outranked = theirs > ours;
    if (outranked || asleep) && part.is == StateName::Active {
        part.fail("the Active stays although it has lost");
    }
    if !outranked && awake && part.is != StateName::Active && !part.is_mute() {
        part.fail("the Active gives way to an advertisement that loses");
    }
    if part.is == StateName::Active {
        owed::owes(watch, part);
    } else if part.is == StateName::Backup {
        let winnable = theirs > (1, ours.1);
        // After a stall it depends on what the kernel still had.
        watch.parting = winnable && awake && !part.is_mute();
        // One that could not answer gave up for that, not for the packet.
        let interval = match part.unsent {
            true => part.interval(),
            false => learned(part, packet),
        };
        watch.listens(part.now, interval);
        watch.respected = Some(part.now);
    }
}

/// A state was entered.
fn begin(watch: &mut Watch, part: &Part<'_>, packet: Option<&Packet>) {
    let entered = part.was != part.is || part.anew;
    match part.is {
        StateName::Backup if entered => {
            if packet.is_none() {
                watch.listens(part.now, part.interval());
                watch.parting = false;
            }
            watch.preempt_at = None;
        }
        StateName::Active if entered => {
            watch.announced.clear();
            watch.owed.clear();
            if part.sent.first() != Some(&part.priority) {
                part.fail("claimed without an advertisement");
            }
        }
        StateName::Backup
        | StateName::Active
        | StateName::Initialize
        | StateName::Fault
        | StateName::Drained => {}
    }
    if part.is != StateName::Backup {
        watch.parting = false;
        watch.respected = None;
        watch.resigned_at = None;
    }
    // What was heard before it took part may have been forgotten.
    if let Some(packet) = packet.filter(|_| part.is == StateName::Backup) {
        watch.incumbent = (packet.priority > 0).then_some(part.now);
    } else if entered {
        watch.incumbent = None;
    }
}

/// The rhythm of an Active.
fn advertised(watch: &mut Watch, part: &Part<'_>, input: &Input, packet: Option<&Packet>) {
    if part.is != StateName::Active {
        return;
    }
    let next = part.now + part.interval();
    if moves::lets_other_speak(watch, part, packet) {
        watch.advert_by = next;
        return;
    }
    if !part.sent.is_empty() {
        watch.last_advert = part.now;
        watch.patience = part.patience();
        watch.listens_first = None;
        watch.advert_by = next;
    } else if (matches!(input, Input::Wake)
        && watch.listens_after_a_stall(part.now, part.late_max() + ROUNDING))
        || part.is_mute()
    {
        watch.advert_by = next;
    } else if matches!(input, Input::Reload(_)) {
        watch.advert_by = watch.advert_by.min(next);
    }
    watch.rescheduled |= matches!(input, Input::Reload(_));
    watch.rescheduled &= !matches!(input, Input::Wake) || part.sent.is_empty();
}
