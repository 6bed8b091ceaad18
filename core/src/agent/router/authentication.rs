//! What a router remembers of who was believed and who was not.

use super::*;
use crate::agent::authentication::Mark;
use crate::agent::status::Rejection;

/// Senders and reasons kept for `status`; anyone can invent senders. At the
/// bound the one heard longest ago goes; the counter has them all.
const REJECTIONS_MAX: usize = 16;

impl VirtualRouter {
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    pub fn restore_mark(&mut self, mark: Mark) {
        self.marks.set(mark);
    }

    pub fn note_rejection(&mut self, now: Instant, source: IpAddr, kind: Rejection) {
        let same = |known: &&mut Rejected| (known.source, known.kind) == (source, kind);
        if let Some(known) = self.rejections.iter_mut().find(same) {
            known.count = known.count.saturating_add(1);
            known.last = now;
            return;
        }
        let fresh = Rejected {
            source,
            kind,
            count: 1,
            last: now,
        };
        if self.rejections.len() < REJECTIONS_MAX {
            self.rejections.push(fresh);
        } else if let Some(oldest) = self.rejections.iter_mut().min_by_key(|known| known.last) {
            *oldest = fresh;
        }
    }
}
