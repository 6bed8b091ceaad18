//! What a failure cost: how long two hosts held the address, how long none
//! did, and how long nobody answered for it.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::prober::ProbeReport;
use super::{Host, Lab, assert_span, ms};

/// From one moment to another.
type Span = (Instant, Instant);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// Two hosts held the address: all such times together, and the longest.
    pub both: Duration,
    pub both_longest: Duration,
    /// No host held it, all together.
    pub none_held: Duration,
    /// The longest time without an answer, where somebody asked. It ends with
    /// the first answer that reached the client, so an address that two hosts
    /// hold is answered.
    pub none_answered: Option<Duration>,
}

impl Outage {
    /// Between `since` and now, by what each host's kernel told.
    pub fn since(
        since: Instant,
        hosts: [&Host; 2],
        address: IpAddr,
        asked: Option<&ProbeReport>,
    ) -> Self {
        let mut outage = Self::between([since, Instant::now()], hosts, address);
        outage.none_answered = asked.map(|report| report.longest_gap);
        outage
    }

    /// Between these two moments. Of answers it knows nothing.
    pub fn between([since, until]: [Instant; 2], [a, b]: [&Host; 2], address: IpAddr) -> Self {
        let [a, b] = [a, b].map(|host| held(host, address, since, until));
        let overlaps = || {
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
            pairs.filter_map(|(x, y)| {
                let (from, to) = (x.0.max(y.0), x.1.min(y.1));
                to.checked_duration_since(from)
            })
        };
        let both = overlaps().sum();
        let length = |spans: &[Span]| spans.iter().map(|(from, to)| *to - *from).sum();
        let (of_a, of_b): (Duration, Duration) = (length(&a), length(&b));
        Self {
            both,
            both_longest: overlaps().max().unwrap_or_default(),
            none_held: (until - since + both).saturating_sub(of_a + of_b),
            none_answered: None,
        }
    }

    /// At most these, and room for the machine.
    #[track_caller]
    pub fn assert_at_most(&self, both: Duration, none_answered: Duration) {
        assert_span("the time during which two held it", self.both, ms(0), both);
        let unanswered = self.none_answered.expect("somebody asked");
        let what = "the time during which none answered";
        assert_span(what, unanswered, ms(0), none_answered);
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        write!(f, "two held it for {:.1} ms, ", ms(self.both))?;
        write!(f, "none for {:.1} ms", ms(self.none_held))?;
        match self.none_answered {
            Some(span) => write!(f, "; unanswered for {:.1} ms", ms(span)),
            None => Ok(()),
        }
    }
}

/// When `host` held `address`, of the time from `since` to `until`.
fn held(host: &Host, address: IpAddr, since: Instant, until: Instant) -> Vec<Span> {
    let Some(began) = host.watch.began(until) else {
        return Vec::new();
    };
    let mut spans = Vec::new();
    let mut from = None;
    for (at, present) in host.watch.times(began, address) {
        match (present, from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                spans.push((start, at));
                from = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    spans.extend(from.map(|start| (start, until)));
    let cut = spans.into_iter().map(|(a, b)| (a.max(since), b.min(until)));
    cut.filter(|(from, to)| from < to).collect()
}

impl Lab {
    /// One line for people who run a trial by hand.
    pub fn tell(&self, what: &str, outage: &Outage) {
        println!("    {what}: {outage}");
    }
}
