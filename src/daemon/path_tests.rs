//! Answers what `vipward doctor` on another host asks: whether packets of
//! protocol 112 pass between the two. The core hears of neither.

use std::net::IpAddr;
use std::time::Duration;

use super::sockets::Sockets;
use crate::agent::event::Heard;
use crate::agent::ladder::group;
use crate::agent::time::Instant;
use crate::wire::advertisement::HOP_LIMIT;
use crate::wire::path_test::{Kind, PathTest, encode, read};

/// Answers in one [`PERIOD`]: a few doctors' questions, by all interfaces.
const ANSWERS_MAX: u32 = 64;
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct PathTests {
    since: Option<Instant>,
    answered: u32,
}

impl PathTests {
    /// Whether the packet was no advertisement, and is done with.
    pub fn take(&mut self, now: Instant, heard: &Heard<'_>, sockets: &Sockets) -> bool {
        let Some(test) = heard.message.as_ref().ok().and_then(read) else {
            return false;
        };
        // From another segment nobody is told what is here; and what goes to
        // all is answered to all, since only that shows whether it passes.
        let near = heard.hop_limit == HOP_LIMIT;
        if test.kind == Kind::Question && near && self.may_answer(now) {
            answer(&test, heard, sockets);
        }
        true
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.since(since) >= PERIOD) {
            self.since = Some(now);
            self.answered = 0;
        }
        self.answered += 1;
        self.answered <= ANSWERS_MAX
    }
}

fn answer(question: &PathTest, heard: &Heard<'_>, sockets: &Sockets) {
    let (interface, family) = (heard.interface, heard.family);
    let vrids = sockets.vrids(interface, family).common(&question.vrids);
    let own = |address| sockets.local(interface, family).any(|own| own == address);
    let source = match heard.destination == group(family) {
        true => speaks_from(heard, sockets),
        false => Some(heard.destination).filter(|address| own(*address)),
    };
    let Some(source) = source.filter(|_| !vrids.is_empty() && !own(heard.source)) else {
        return;
    };
    let destination = match heard.destination == source {
        true => heard.source,
        false => heard.destination,
    };
    let answer = PathTest {
        kind: Kind::Answer,
        vrids,
        ..*question
    };
    let message = encode(&answer, source, destination);
    // One that does not leave is what the asker wants to know.
    let _ = sockets.send(interface, &message, source, destination);
}

/// As an advertisement that goes to the group: over IPv6 the link-local one.
fn speaks_from(heard: &Heard<'_>, sockets: &Sockets) -> Option<IpAddr> {
    let mut own = sockets.local(heard.interface, heard.family);
    own.find(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_answered_in_part_and_the_next_second_anew() {
        let mut tests = PathTests::default();
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let answered = |tests: &mut PathTests, ms: u64| {
            let all = (0..1_000).filter(|_| tests.may_answer(at(ms)));
            all.count()
        };
        assert_eq!(answered(&mut tests, 5_000), 64);
        assert_eq!(answered(&mut tests, 5_999), 0);
        assert_eq!(answered(&mut tests, 6_000), 64);
    }
}
