//! What the monitor knows of the routes and rules that bear our mark. The
//! kernel drops IPv4 routes with their interface or source address and says
//! nothing of it, so that any change of those is a reason to look, too.

use std::time::{Duration, Instant};

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::route::RouteHeader;
use tokio::sync::mpsc;

use super::routing_read::{OURS, RoutingReader};
use super::socket::Received;
use crate::agent::event::Event;
use crate::agent::routing::RoutingState;

/// Groups of the event socket, beside those for interfaces.
pub(super) const GROUPS: [libc::c_uint; 4] = [
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
];

/// Between two readings, and at least so many times as long as one took: the
/// kernel looks at every route of the host to find ours.
const READING_GAP: Duration = Duration::from_millis(10);
const READING_SHARE: u32 = 10;
/// Until the kernel is asked again after a failure.
const FAILURE_GAP: Duration = Duration::from_secs(1);
/// Until a report that the full channel did not take is tried again.
const FULL_CHANNEL_GAP: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct RoutingWatch {
    reader: RoutingReader,
    /// Somebody has routes or rules.
    wanted: bool,
    /// Last reported; `None` when nothing was yet.
    reported: Option<RoutingState>,
    due: Option<Instant>,
    /// Earliest time of the next reading.
    rested: Option<Instant>,
}

impl RoutingWatch {
    /// Begins or ends. Whether that is news: the event socket is to be opened
    /// anew then.
    pub fn want(&mut self, wanted: bool, now: Instant) -> bool {
        if self.wanted == wanted {
            return false;
        }
        *self = Self {
            wanted,
            due: wanted.then_some(now),
            ..Self::default()
        };
        true
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// When to read next.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may have changed.
    pub fn touch(&mut self, now: Instant) {
        if self.wanted {
            let soonest = self.rested.map_or(now, |rested| rested.max(now));
            self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
        }
    }

    /// Takes note of what the kernel has sent.
    pub fn hear(&mut self, message: &Received<'_>, now: Instant) {
        let matters = match message.kind {
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
                // One that replaces ours is not ours.
                let replaces = message.flags & NLM_F_REPLACE != 0;
                let header = RouteHeader::parse(message.payload);
                replaces || header.is_ok_and(|header| header.protocol == OURS)
            }
            libc::RTM_NEWRULE | libc::RTM_DELRULE => true,
            libc::RTM_NEWLINK | libc::RTM_DELLINK | libc::RTM_DELADDR => true,
            _ => false,
        };
        if matters {
            self.touch(now);
        }
    }

    /// Reads when it is due, and reports what changed.
    pub fn report(&mut self, now: Instant, events: &mpsc::Sender<Event<'static>>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let begun = Instant::now();
        let found = self.reader.read();
        let pause = READING_GAP.max(begun.elapsed() * READING_SHARE);
        self.rested = Some(now + pause);
        self.due = match found {
            Err(error) => {
                tracing::warn!("the routes and rules could not be read: {error}");
                Some(now + FAILURE_GAP)
            }
            Ok((state, settled)) => {
                let again = (!settled).then_some(now + pause);
                if self.reported.as_ref() == Some(&state) {
                    again
                } else if events.try_send(Event::Routing(state.clone())).is_ok() {
                    self.reported = Some(state);
                    again
                } else {
                    // Full; a closed channel ends the thread at its next turn.
                    Some(now + FULL_CHANNEL_GAP)
                }
            }
        };
    }
}
