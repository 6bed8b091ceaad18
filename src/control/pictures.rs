//! Pictures of the core, shared: however many ask, the protocol loop is asked
//! once in a while, and what is made of its answer is made once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::document::{Context, Document, Identity, WallClock};
use super::events::feed::Feed;
use super::events::query::Query;
use super::events::record::Record;
use super::metrics;
use super::page;
use super::reload::Reloadings;
use super::server::{LOOP_TIMEOUT, Request, StatusPicture};

/// Who asks within this time after another gets the same answer.
pub const SHARED_FOR: Duration = Duration::from_millis(250);

/// Why there is no picture: a sentence.
type Failure = &'static str;

/// What the shell knows of itself, beside the core's picture.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub identity: Identity,
    pub reloadings: Reloadings,
}

/// One moment, and what was made of it so far.
pub(super) struct View {
    pub picture: StatusPicture,
    pub about: About,
    pub clock: WallClock,
    /// The latest, in their order.
    pub events: Vec<Record>,
    json: OnceLock<Result<Bytes, String>>,
    metrics: OnceLock<Bytes>,
    page: OnceLock<Bytes>,
}

impl View {
    pub fn new(
        picture: StatusPicture,
        about: About,
        clock: WallClock,
        events: Vec<Record>,
    ) -> Self {
        Self {
            picture,
            about,
            clock,
            events,
            json: OnceLock::new(),
            metrics: OnceLock::new(),
            page: OnceLock::new(),
        }
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            identity: &self.about.identity,
            now: self.picture.now,
            clock: self.clock,
        }
    }

    fn document(&self) -> Document {
        Document::new(&self.picture.status, self.context())
    }

    /// The status document. The error is a sentence.
    pub fn json(&self) -> Result<Bytes, String> {
        let made = || match self.document().to_json() {
            Ok(text) => Ok(text.into()),
            Err(fault) => Err(format!(
                "the status cannot be written as JSON: {fault}; please report it"
            )),
        };
        self.json.get_or_init(made).clone()
    }

    pub fn metrics(&self) -> Bytes {
        let made = || metrics::exposition(self).into();
        self.metrics.get_or_init(made).clone()
    }

    pub fn page(&self) -> Bytes {
        let made = || {
            let now = self.clock.at(self.picture.now).0;
            page::html(&self.document(), &self.events, now).into()
        };
        self.page.get_or_init(made).clone()
    }
}

/// What the loop said last, and when; its silence too.
struct Answered {
    at: Instant,
    outcome: Result<Arc<View>, Failure>,
}

/// Where pictures are had.
pub(super) struct Pictures<C> {
    requests: mpsc::Sender<Request<C>>,
    about: Arc<Mutex<About>>,
    feed: Arc<Feed>,
    clock: Mutex<Option<WallClock>>,
    /// Locked while the loop is asked: whoever comes meanwhile waits for the
    /// same answer.
    last: tokio::sync::Mutex<Option<Answered>>,
}

impl<C> Pictures<C> {
    pub fn new(
        requests: mpsc::Sender<Request<C>>,
        about: Arc<Mutex<About>>,
        feed: Arc<Feed>,
    ) -> Self {
        Self {
            requests,
            about,
            feed,
            clock: Mutex::new(None),
            last: tokio::sync::Mutex::new(None),
        }
    }

    /// Of this very moment.
    pub async fn fresh(&self) -> Result<View, Failure> {
        let (reply, picture) = oneshot::channel();
        match self.requests.try_send(Request::Status(reply)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err("the protocol loop has too many requests before it; try again");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err("the agent is stopping"),
        }
        match timeout(LOOP_TIMEOUT, picture).await {
            Ok(Ok(picture)) => Ok(self.view(picture)),
            Ok(Err(_)) => Err("the agent is stopping"),
            Err(_) => Err(
                "the agent lives, but its protocol loop did not answer within 900 ms; its log may \
                 say why",
            ),
        }
    }

    /// At most [`SHARED_FOR`] old.
    pub async fn shared(&self) -> Result<Arc<View>, Failure> {
        let mut last = self.last.lock().await;
        if let Some(answered) = &*last
            && answered.at.elapsed() < SHARED_FOR
        {
            return answered.outcome.clone();
        }
        let outcome = self.fresh().await.map(Arc::new);
        *last = Some(Answered {
            at: Instant::now(),
            outcome: outcome.clone(),
        });
        outcome
    }

    fn latest(&self) -> Vec<Record> {
        let page = self.feed.page(&Query {
            last: Some(page::EVENTS_SHOWN),
            ..Query::default()
        });
        let lines = page.kept.iter();
        let records = lines.map(|kept| serde_json::from_str(&kept.line));
        records.filter_map(Result::ok).collect()
    }

    fn view(&self, picture: StatusPicture) -> View {
        let wall = Timestamp::now();
        let mut kept = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = kept.map_or_else(
            || WallClock::new(picture.now, wall),
            |clock| clock.observe(picture.now, wall),
        );
        *kept = Some(clock);
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
        View::new(picture, about.clone(), clock, self.latest())
    }
}
