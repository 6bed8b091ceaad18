//! Which events somebody wants, as the query of a path, and what he gets.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::feed::Kept;
use crate::agent::values::is_name;

/// Events on a page that continues after an identifier; the rest is on the
/// next one.
pub const PAGE_MAX: usize = 1000;
/// So long a client may wait.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// `GET /events?after=7&since_ms=1764432000000&last=20&instance=web&wait_ms=30000`,
/// each of them optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Those with a greater identifier, the first of them first.
    pub after: Option<u64>,
    /// Not those before this time, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// No more than this, the last ones. With `after` it means nothing.
    pub last: Option<usize>,
    pub instance: Option<String>,
    /// When there are none, so long it is waited for one; at most
    /// [`WAIT_MAX`].
    pub wait: Duration,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unclear {
    #[error("{0} is not a whole number; nothing was looked up")]
    NoNumber(String),
    #[error("instance is no name; nothing was looked up")]
    NoName,
    #[error(
        "events are not chosen by that field: after, since_ms, last, instance and wait_ms are known"
    )]
    Unknown,
}

impl Query {
    /// # Errors
    ///
    /// One sentence.
    pub fn parse(query: Option<&str>) -> Result<Self, Unclear> {
        let mut wanted = Self::default();
        let given = query.unwrap_or_default().split('&');
        for field in given.filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let no_number = |_| Unclear::NoNumber(key.to_owned());
            match key {
                "after" => wanted.after = Some(value.parse().map_err(no_number)?),
                "since_ms" => wanted.since_ms = Some(value.parse().map_err(no_number)?),
                "last" => wanted.last = Some(value.parse().map_err(no_number)?),
                "wait_ms" => {
                    let millis = value.parse().map_err(no_number)?;
                    wanted.wait = Duration::from_millis(millis).min(WAIT_MAX);
                }
                "instance" if is_name(value) => wanted.instance = Some(value.to_owned()),
                "instance" => return Err(Unclear::NoName),
                _ => return Err(Unclear::Unknown),
            }
        }
        Ok(wanted)
    }

    /// What [`Query::parse`] reads. Names need no quoting.
    pub fn target(&self) -> String {
        let wait = (!self.wait.is_zero()).then(|| self.wait.as_millis().to_string());
        let fields = [
            ("after", self.after.map(|id| id.to_string())),
            ("since_ms", self.since_ms.map(|millis| millis.to_string())),
            ("last", self.last.map(|count| count.to_string())),
            ("instance", self.instance.clone()),
            ("wait_ms", wait),
        ];
        let given = fields.into_iter();
        let given = given.filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        format!("/events?{}", given.collect::<Vec<_>>().join("&"))
    }

    pub(super) fn wants(&self, kept: &Kept) -> bool {
        self.after.is_none_or(|after| kept.id > after)
            && self.since_ms.is_none_or(|since| kept.time_ms >= since)
            && (self.instance.is_none() || self.instance.as_deref() == kept.instance.as_deref())
    }
}

/// Some events, in their order.
#[derive(Debug)]
pub struct Page {
    pub kept: Vec<Arc<Kept>>,
    /// The oldest that there is; 0 when there is none.
    pub oldest: u64,
    /// The newest that there is, wanted or not.
    pub newest: u64,
    /// What to continue after.
    pub next: u64,
}

impl Page {
    pub(super) fn new<'k>(
        query: &Query,
        all: impl DoubleEndedIterator<Item = &'k Arc<Kept>> + Clone,
        newest: u64,
    ) -> Self {
        let oldest = all.clone().next().map_or(0, |kept| kept.id);
        let wanted = all.filter(|kept| query.wants(kept));
        let mut next = newest;
        let kept = if query.after.is_some() {
            let page: Vec<Arc<Kept>> = wanted.take(PAGE_MAX).cloned().collect();
            if page.len() == PAGE_MAX {
                next = page.last().map_or(newest, |kept| kept.id);
            }
            page
        } else {
            let last = wanted.rev().take(query.last.unwrap_or(usize::MAX));
            let mut page = VecDeque::new();
            last.for_each(|kept| page.push_front(Arc::clone(kept)));
            page.into()
        };
        Self {
            kept,
            oldest,
            newest,
            next,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `{"node": "lb1", "oldest": 1, "newest": 9, "next": 9, "events": [...]}`
    pub fn to_json(&self, node: &str) -> String {
        let node = serde_json::Value::from(node);
        let Self {
            oldest,
            newest,
            next,
            ..
        } = self;
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "{{\"node\":{node},\"oldest\":{oldest},\"newest\":{newest},\"next\":{next},\"events\":["
        );
        for (index, kept) in self.kept.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            text.push_str(&kept.line);
        }
        text.push_str("]}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::events::feed::Feed;
    use crate::control::events::record::sample;
    use rstest::rstest;

    fn feed(events: u64) -> Feed {
        let feed = Feed::new(1);
        for _ in 0..events {
            feed.add(|id| sample(id, if id % 2 == 0 { "web" } else { "db" }));
        }
        feed
    }

    fn ids(page: &Page) -> Vec<u64> {
        page.kept.iter().map(|kept| kept.id).collect()
    }

    #[rstest]
    #[case("", &[1, 2, 3, 4, 5, 6])]
    #[case("last=2", &[5, 6])]
    #[case("last=0", &[])]
    #[case("after=4", &[5, 6])]
    #[case("after=4&last=1", &[5, 6])]
    #[case("after=6", &[])]
    #[case("after=600", &[])]
    #[case("instance=web", &[2, 4, 6])]
    #[case("instance=web&last=1", &[6])]
    #[case("instance=mail", &[])]
    #[case("since_ms=4000", &[4, 5, 6])]
    #[case("since_ms=-1&after=5", &[6])]
    fn what_is_wanted_is_found(#[case] query: &str, #[case] found: &[u64]) {
        let page = feed(6).page(&Query::parse(Some(query)).unwrap());
        assert_eq!(ids(&page), found);
        assert_eq!((page.oldest, page.newest, page.next), (1, 6, 6));
    }

    #[test]
    fn a_long_history_comes_page_by_page() {
        let feed = feed(2500);
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let query = Query {
                after: Some(after),
                ..Query::default()
            };
            let page = feed.page(&query);
            if page.is_empty() {
                break;
            }
            assert!(page.kept.len() <= PAGE_MAX);
            seen.extend(ids(&page));
            after = page.next;
        }
        assert_eq!(seen, (1..=2500).collect::<Vec<_>>());
    }

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let full = Query {
            after: Some(u64::MAX),
            since_ms: Some(-5),
            last: Some(7),
            instance: Some("a.b-c_d".to_owned()),
            wait: Duration::from_millis(250),
        };
        for query in [full, Query::default()] {
            let target = query.target();
            let (_, text) = target.split_once('?').unwrap();
            assert_eq!(Query::parse(Some(text)), Ok(query));
        }
        let long = Query::parse(Some("wait_ms=99999999999")).unwrap();
        assert_eq!(long.wait, WAIT_MAX);
    }

    #[rstest]
    #[case("after=-1", "after is not a whole number")]
    #[case("after=", "after is not a whole number")]
    #[case("last=1e3", "last is not a whole number")]
    #[case("since_ms=yesterday", "since_ms is not a whole number")]
    #[case("wait_ms=1s", "wait_ms is not a whole number")]
    #[case("instance=a/b", "instance is no name")]
    #[case("page=2", "after, since_ms, last, instance and wait_ms")]
    fn nonsense_is_refused(#[case] query: &str, #[case] why: &str) {
        let error = Query::parse(Some(query)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_page_is_json() {
        let page = feed(3).page(&Query::parse(Some("last=2")).unwrap());
        let value: serde_json::Value = serde_json::from_str(&page.to_json("lb\"1")).unwrap();
        assert_eq!(value["node"], "lb\"1");
        assert_eq!((&value["oldest"], &value["next"]), (&1.into(), &3.into()));
        assert_eq!(value["events"][1]["id"], 3);
        assert_eq!(value["events"][0]["event"], "reconfigured");
    }
}
