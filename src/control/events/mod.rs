//! What happened, as it is kept and told: typed events with identifiers that
//! only grow. The core makes most of them ([`crate::agent::report`]), the
//! shell those about the agent itself ([`fact::AgentFact`]).
//!
//! From one call of the [`recorder::Recorder`] come the line in the log and the
//! [`record::Record`] in the [`feed::Feed`]. Whoever wants events follows the
//! feed: clients of the control socket, and the thread that writes the files.
//!
//! `GET /events` on the control socket takes the fields of [`query::Query`] and
//! answers [`query::Page`]; [`answer`] is the same for any other server.

pub mod fact;
pub mod feed;
pub mod query;
pub mod record;
pub mod recorder;
pub mod story;
pub mod when;

use std::sync::Arc;

use thiserror::Error;

use feed::Feed;
use query::Query;
use recorder::Recorder;

/// Both ends of the stream.
#[derive(Clone, Debug)]
pub struct Events {
    pub feed: Arc<Feed>,
    pub recorder: Recorder,
}

impl Events {
    /// For those who try a server: nothing is recorded.
    pub fn unheard(clock: recorder::Clock) -> Self {
        Self {
            feed: Arc::new(Feed::new(1)),
            recorder: Recorder::new(clock, 1).0,
        }
    }
}

#[derive(Debug, Error)]
#[error(
    "{} clients wait for events already; try again, or ask without wait_ms",
    feed::WAITERS_MAX
)]
pub struct Crowded;

/// The page that `query` asks for, as JSON; with `wait_ms` not before there is
/// something on it, or that time is over. `node` is this node's name.
///
/// # Errors
///
/// One sentence; nothing was waited for.
pub async fn answer(feed: &Feed, node: &str, query: &Query) -> Result<String, Crowded> {
    let mut page = feed.page(query);
    if page.is_empty() && !query.wait.is_zero() {
        let Some(_waiter) = feed.waiter() else {
            return Err(Crowded);
        };
        let ended = tokio::time::Instant::now() + query.wait;
        while page.is_empty() {
            let seen = page.newest;
            let change = feed.beyond(seen);
            if tokio::time::timeout_at(ended, change).await.is_err() {
                break;
            }
            page = feed.page(query);
        }
    }
    Ok(page.to_json(node))
}
