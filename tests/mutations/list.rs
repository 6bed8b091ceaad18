//! The faults. Each replaces a text that stands exactly once in its file.
//! Those of authentication, groups, planned moves, the peer link and routes are
//! in files of their own.

pub struct Mutation {
    /// What the program does wrong with it.
    pub name: &'static str,
    pub file: &'static str,
    pub right: &'static str,
    pub wrong: &'static str,
}

pub const fn fault(
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
) -> Mutation {
    Mutation {
        name,
        file,
        right,
        wrong,
    }
}

const ELECTION: &str = "core/src/agent/election.rs";
const ADVERTS: &str = "core/src/agent/router/adverts.rs";
const LEAVING: &str = "core/src/agent/router/leaving.rs";
const ROUTER: &str = "core/src/agent/router/mod.rs";
const TIMERS: &str = "core/src/agent/router/timers.rs";
const ADDRESSES: &str = "core/src/agent/router/addresses.rs";
const RIVALS: &str = "core/src/agent/router/rivals.rs";
const HEALTH: &str = "core/src/agent/router/health.rs";
const RELOAD: &str = "core/src/agent/router/reload.rs";
const SENDING: &str = "core/src/agent/router/sending.rs";
const HOLDINGS: &str = "core/src/agent/holdings/holding.rs";
const LEASES: &str = "core/src/agent/holdings/leases.rs";
const ORDER: &str = "core/src/agent/holdings/order.rs";
const LADDER: &str = "core/src/agent/ladder.rs";
const CHECKS: &str = "core/src/agent/checks/check.rs";
const COMBINATION: &str = "core/src/agent/checks/combination.rs";
const HOOKS: &str = "core/src/agent/hooks.rs";
const ANNOUNCER: &str = "core/src/agent/announcer.rs";
const SCHEDULE: &str = "core/src/agent/schedule.rs";
const OBSTACLES: &str = "core/src/agent/obstacles.rs";
const ADVERTISEMENT: &str = "core/src/wire/advertisement.rs";
const ANNOUNCEMENT: &str = "core/src/wire/announcement.rs";
const CHECKSUM: &str = "core/src/wire/checksum.rs";

pub const MUTATIONS: &[Mutation] = &[
    // The arithmetic.
    fault(
        "skew dropped",
        ELECTION,
        "interval * u32::from(down_after) + wait",
        "{ let _ = wait; interval * u32::from(down_after) }",
    ),
    fault(
        "skew grows with the priority",
        ELECTION,
        "base * (256 - u32::from(priority.get())) / 256",
        "base * u32::from(priority.get()) / 256",
    ),
    fault(
        "skew in whole centiseconds",
        ELECTION,
        "base * (256 - u32::from(priority.get())) / 256",
        "Duration::from_millis(\n        u64::try_from((base * (256 - u32::from(priority.get())) / 256).as_millis()).unwrap_or(0)\n            / 10\n            * 10,\n    )",
    ),
    fault(
        "version 2 skews by its interval",
        ELECTION,
        "Version::V2 => Duration::from_secs(1),",
        "Version::V2 => interval,",
    ),
    fault(
        "down_after ignored",
        ELECTION,
        "interval * u32::from(down_after) +",
        "interval * (u32::from(down_after) * 0 + 3) +",
    ),
    // The election.
    fault(
        "tie broken the wrong way",
        ELECTION,
        "    theirs > ours\n",
        "    (theirs.0, ours.1) > (ours.0, theirs.1)\n",
    ),
    fault(
        "equal wins",
        ELECTION,
        "    theirs > ours\n",
        "    theirs >= ours\n",
    ),
    fault(
        "parting advertisement that wins",
        ELECTION,
        "let highest = our_priority.min(theirs.0);",
        "let highest = our_priority.max(theirs.0);",
    ),
    fault(
        "priority 0 ignored by a Backup",
        ADVERTS,
        "        if advert.priority == 0 {\n            let best",
        "        if advert.priority == 0 && advert.source.is_loopback() {\n            let best",
    ),
    fault(
        "priority 0 not answered by the Active",
        ADVERTS,
        "            self.advertise(turn, ours.0);\n            active.advert_at = turn.now + self.own_interval();",
        "            active.advert_at = turn.now + self.own_interval();",
    ),
    fault(
        "preempts an equal",
        ADVERTS,
        "let losing = advert.priority < ours.get();",
        "let losing = advert.priority <= ours.get();",
    ),
    fault(
        "timer not reset by a winning advertisement",
        ADVERTS,
        "        backup.down_at = turn.now + self.down_interval(backup.active_interval);\n        backup.claim_reason = Reason::NoResponse;",
        "        backup.claim_reason = Reason::NoResponse;",
    ),
    fault(
        "timer reset by a losing advertisement",
        ADVERTS,
        "                // Discarded: the timer keeps running.\n",
        "                backup.down_at = turn.now + self.down_interval(backup.active_interval);\n",
    ),
    fault(
        "interval not learned",
        ADVERTS,
        "Version::V3 => advert.interval.as_duration(),",
        "Version::V3 => self.own_interval(),",
    ),
    fault(
        "preempt delay armed anew by each advertisement",
        ADVERTS,
        "backup.preempt_at.get_or_insert(turn.now + delay);",
        "backup.preempt_at = Some(turn.now + delay);",
    ),
    fault(
        "losing advertisement not answered",
        ADVERTS,
        "        if answers && active.answers.take(turn.now, pace) {",
        "        if answers && !answers && active.answers.take(turn.now, pace) {",
    ),
    fault(
        "answers without a bound",
        ADVERTS,
        "        if answers && active.answers.take(turn.now, pace) {",
        "        if answers && (active.answers.take(turn.now, pace) || answers) {",
    ),
    fault(
        "no announcement after a losing advertisement",
        ADVERTS,
        "        self.reaffirm(turn, active);\n        self.announce_due(turn);\n",
        "        self.announce_due(turn);\n",
    ),
    fault(
        "an overslept Active goes on",
        ADVERTS,
        "if slept || outranks(theirs, ours) {",
        "if outranks(theirs, ours) {",
    ),
    fault(
        "a late Backup claims at once",
        TIMERS,
        "if late > backup.active_interval && !backup.forgiven {",
        "if late > backup.active_interval && backup.forgiven {",
    ),
    fault(
        "advertisements drift by their lateness",
        TIMERS,
        "                active.advert_at + interval\n",
        "                turn.now + interval\n",
    ),
    fault(
        "no parting advertisement",
        ADDRESSES,
        "            self.advertise(turn, parting.priority);\n",
        "",
    ),
    fault(
        "priority 0 not sent in a fault",
        LEAVING,
        "        if up {\n            self.advertise(turn, 0);",
        "        if up && !up {\n            self.advertise(turn, 0);",
    ),
    fault(
        "settle ignored",
        ROUTER,
        "let settled_at = Some(turn.now + self.settings.settle);",
        "let settled_at = Some(turn.now);",
    ),
    fault(
        "a stopping router is not quiet",
        ROUTER,
        "let may_begin = self.obstacles.allow() && !self.stopping;",
        "let may_begin = self.obstacles.allow();",
    ),
    // Addresses and announcements.
    fault(
        "removal forgotten",
        HOLDINGS,
        "                turn.act(Action::RemoveAddress(AddressOrder { lingers, ..order }));",
        "                let _ = (order, lingers);\n                self.pending = None;\n                \
         self.present = false;",
    ),
    fault(
        "announced before it is there",
        SENDING,
        "        self.holdings.claim(turn);\n",
        "        self.holdings.claim(turn);\n        for address in self.settings.addresses.clone() {\n            turn.act(Action::Announce {\n                instance: self.id,\n                interface: address.interface,\n                address: address.network.addr(),\n            });\n        }\n",
    ),
    fault(
        "a deleted address is not put back",
        HOLDINGS,
        "        let settled = self.present && self.confirmed;\n",
        "        let settled = (self.present && self.confirmed) || self.vanished.is_some();\n",
    ),
    fault(
        "restored without a pause",
        HOLDINGS,
        "let too_soon = self.restoration().is_some_and(|at| at > turn.now);",
        "let too_soon = false;",
    ),
    fault(
        "an owner's own address removed",
        HOLDINGS,
        "        if self.belongs_to_host {\n            self.present = false;\n            self.order = None;\n            return;\n        }\n",
        "",
    ),
    // Leases, sending, standing still.
    fault(
        "claims although nothing has left",
        SENDING,
        "            Err(failure) => {\n                self.complain(turn, failure.error.clone());\n                if failure.partly {",
        "            Err(failure) => {\n                self.complain(turn, failure.error.clone());\n                if failure.partly || matches!(self.state, State::Claiming(_)) {",
    ),
    fault(
        "stays Active although nobody hears it",
        SENDING,
        "turn.now.since(active.last_left) + interval / 2 >= patience;",
        "turn.now.since(active.last_left) + interval / 2 >= patience * 50;",
    ),
    fault(
        "gives up at the first failure to send",
        SENDING,
        "turn.now.since(active.last_left) + interval / 2 >= patience;",
        "turn.now.since(active.last_left) <= patience;",
    ),
    fault(
        "one peer out of several costs the address",
        SENDING,
        "if failure.partly {",
        "if failure.partly && false {",
    ),
    fault(
        "leases are not begun anew",
        SENDING,
        "                changed |= self.holdings.renew(turn, until);\n",
        "                let _ = until;\n",
    ),
    fault(
        "addresses are added without a lease",
        HOLDINGS,
        "        order.lease = lease.filter(|_| !self.belongs_to_host);\n",
        "        order.lease = lease.filter(|_| false);\n",
    ),
    fault(
        "takes back in silence what ran out in silence",
        HOLDINGS,
        "        if self.vanished == Some(Loss::Expired) && !spoken {",
        "        if self.vanished == Some(Loss::Expired) && !spoken && anew {",
    ),
    fault(
        "an owner's own address is leased",
        LEASES,
        "        if self.belongs_to_host || self.departing || self.unleased.is_some() {",
        "        if self.departing || self.unleased.is_some() {",
    ),
    fault(
        "a renewal that failed is not tried again",
        LEASES,
        "                holding.renew_at = Some(turn.now + RENEW_PAUSE);\n",
        "",
    ),
    fault(
        "every advertisement begins every lease anew",
        LEASES,
        "            age.is_some_and(|age| age < lease.as_duration() / YOUNG)",
        "            age.is_some_and(|age| age < lease.as_duration() / (YOUNG * 100))",
    ),
    fault(
        "speaks at once after a stall",
        TIMERS,
        "        if active.doubts_until.is_none() && active.overslept(turn.now) && !tried {",
        "        if active.doubts_until.is_some() && active.overslept(turn.now) && !tried {",
    ),
    fault(
        "the last try of one that cannot send is taken for a stall",
        TIMERS,
        "let tried = self.cannot_send.is_some() && late < interval;",
        "let tried = self.cannot_send.is_some() && late > interval;",
    ),
    fault(
        "takes an address back before it has listened",
        ADDRESSES,
        "            if !self.doubts(turn.now) {",
        "            if !self.doubts(turn.now) || self.holds() {",
    ),
    fault(
        "parts although its kernel had let go",
        ADDRESSES,
        "            && (!parting.if_answered || self.holdings.answered_until_now())\n",
        "",
    ),
    fault(
        "the pause between two restorations does not grow",
        HOLDINGS,
        "(pause * 2).min(RESTORE_PAUSE_LONGEST)",
        "pause.min(RESTORE_PAUSE_LONGEST)",
    ),
    // How an address is added.
    fault(
        "secondaries go with our primary",
        ORDER,
        "promote_secondaries: leads && !self.belongs_to_host,",
        "promote_secondaries: false,",
    ),
    fault(
        "subnet route brought twice",
        ORDER,
        "network: if narrowed { host } else { network },",
        "network,",
    ),
    fault(
        "resigns without waiting for the last announcement",
        RIVALS,
        "holding.is_present() && !self.taken_over.contains(&address)",
        "holding.is_present() && !self.taken_over.contains(&address) && false",
    ),
    fault(
        "defends without a pause",
        RIVALS,
        "Some(known) if now.since(known.last_defended) < DEFENCE_PAUSE => {",
        "Some(known) if now.since(known.last_defended) < Duration::ZERO => {",
    ),
    fault(
        "looks for no rival",
        RIVALS,
        "        turn.act(Action::Probe {\n            instance: self.id,\n            source,\n            address,\n        });\n",
        "        let _ = (source, address);\n",
    ),
    fault(
        "no second burst",
        ANNOUNCER,
        "let bursts = if second { 2 * repeat } else { repeat };",
        "let bursts = if second { repeat } else { repeat };",
    ),
    // Checks, hooks, reload.
    fault(
        "one failure is enough",
        CHECKS,
        "if self.state != CheckState::Unknown && self.against < needed {",
        "if self.state != CheckState::Unknown && self.against < needed.min(1) {",
    ),
    fault(
        "failures add up over successes",
        CHECKS,
        "        if verdict == self.state {\n            self.against = 0;",
        "        if verdict == self.state {",
    ),
    fault(
        "weights without a bound",
        HEALTH,
        "let value = (i32::from(base.get()) + sum).clamp(1, 254);",
        "let value = (i32::from(base.get()) + sum).clamp(0, 255);",
    ),
    fault(
        "a failing check without weight is no obstacle",
        OBSTACLES,
        "self.check(Gravity::Blocks, \"check-failed\", &check.name, &verdict.text);",
        "self.check(Gravity::Shows, \"check-failed\", &check.name, &verdict.text);",
    ),
    fault(
        "an early warning takes the addresses",
        OBSTACLES,
        "self.check(Gravity::Shows, \"early-warning\", name, text);",
        "self.check(Gravity::Blocks, \"early-warning\", name, text);",
    ),
    fault(
        "a combination is content with one member less",
        COMBINATION,
        "        let state = if up >= combination.needed {",
        "        let state = if up + 1 >= combination.needed {",
    ),
    fault(
        "a combination does not follow",
        COMBINATION,
        "                changed |= check.amount_to(turn, state, text);",
        "                changed |= false && check.amount_to(turn, state, text);",
    ),
    fault(
        "a file that lost its number keeps it",
        CHECKS,
        "            Err(why) => (CheckState::Down, 0, why.clone()),",
        "            Err(why) => (CheckState::Down, self.number.unwrap_or(0), why.clone()),",
    ),
    fault(
        "hooks of old transitions are kept",
        HOOKS,
        "        self.waiting = hooks\n            .filter(|hook| self.timeouts.contains_key(hook))\n            .map(call)\n            .collect();\n",
        "        let newer = hooks\n            .filter(|hook| self.timeouts.contains_key(hook))\n            .map(call);\n        self.waiting.extend(newer);\n",
    ),
    fault(
        "a reload restarts the advertisements",
        RELOAD,
        "active.advert_at = active.advert_at.min(turn.now + interval);",
        "active.advert_at = turn.now + interval;",
    ),
    fault(
        "a reload forgets the new advertised list",
        RELOAD,
        "        self.advertised = self.settings.advertised().collect();\n",
        "",
    ),
    // Loop and ladder.
    fault(
        "old deadlines are kept",
        SCHEDULE,
        "Some(wish) if wish.deadline == wish.entry => break,",
        "Some(wish) if wish.entry.is_some() => break,",
    ),
    fault(
        "TTL not looked at",
        LADDER,
        "if heard.hop_limit < lowest {",
        "if heard.hop_limit < lowest.min(1) {",
    ),
    fault(
        "unicast strangers are heard",
        LADDER,
        "if unicast && !receiver.settings.unicast_peers.contains(&heard.source) {",
        "if !unicast && !receiver.settings.unicast_peers.contains(&heard.source) && false {",
    ),
    fault(
        "our own packet is heard",
        LADDER,
        "    if own_source {\n",
        "    if own_source && heard.hop_limit == 0 {\n",
    ),
    fault(
        "wrong checksums are taken",
        CHECKSUM,
        "        self.folded() == 0xffff\n",
        "        self.folded() == 0xffff || self.folded() != 0\n",
    ),
    fault(
        "reserved bits are read as interval",
        ADVERTISEMENT,
        "u16::from_be_bytes([high & 0x0f, low])",
        "u16::from_be_bytes([high, low])",
    ),
    fault(
        "the header's options shift the message",
        ADVERTISEMENT,
        "let header_length = usize::from(header.get_header_length()) * 4;",
        "let header_length = usize::from(header.get_header_length().min(5)) * 4;",
    ),
    fault(
        "the reply form is not taken for gratuitous",
        ANNOUNCEMENT,
        "    let own = sender.0.into();\n",
        "    let own = MacAddr::broadcast();\n    let _ = &sender.0;\n",
    ),
    fault(
        "neighbour advertisement without Override",
        ANNOUNCEMENT,
        "na.set_flags(NeighborAdvertFlags::Override | router);",
        "na.set_flags(router);",
    ),
];
