//! Orders of operators that the core has not answered yet.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::agent::moves::Answer;

/// As many as there are connections at most, which the control server bounds.
#[derive(Debug, Default)]
pub struct Desk {
    taken: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl Desk {
    /// The number under which the core answers.
    pub fn take(&mut self, reply: oneshot::Sender<Answer>) -> u64 {
        // Who has gone does not wait.
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.taken += 1;
        self.waiting.insert(self.taken, reply);
        self.taken
    }

    pub fn answer(&mut self, ticket: u64, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            let _ = reply.send(answer);
        }
    }
}
