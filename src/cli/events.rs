//! `vipward events`.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::agent::{self, AgentArgs};
use super::moves::name;
use super::{output, status, unknown};
use crate::control::client::{self, ClientError, EventsPage};
use crate::control::events::query::Query;
use crate::control::events::record::Record;
use crate::control::events::story::Story;
use crate::control::events::when;
use crate::control::words;
use crate::daemon::history;

/// Shown without `-n` and `--since`.
const LAST: usize = 50;
/// One question of `--follow` waits so long for an answer.
const WAIT: Duration = Duration::from_secs(25);
/// Before an agent that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line: when (UTC), how long after the line before of the same instance,\n\
                  the instance, what happened and why. The agent keeps the last 4096 events,\n\
                  also across restarts, in the state directory.\n\n\
                  Exit codes: 0; 1 when there is no such instance; 2 on a usage error;\n\
                  3 when no agent answers within a second."
)]
pub struct Args {
    /// Only those of this instance
    #[arg(value_parser = name)]
    instance: Option<String>,
    /// Go on with what happens from now on, also across restarts of the agent
    #[arg(short, long)]
    follow: bool,
    /// Print each event as JSON, one on a line
    #[arg(long)]
    json: bool,
    /// No more than so many, the last ones [default: 50, and all with --since]
    #[arg(short = 'n', long = "lines", value_name = "N", value_parser = lines)]
    last: Option<usize>,
    /// Not those before: a span such as 15m, 2h or 3d, or a time (UTC)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Read what the agent of this state directory wrote, and ask none
    ///
    /// For when it does not run; usually /var/lib/vipward.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["follow", "socket", "runtime_dir"])]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    agent: AgentArgs,
}

fn lines(text: &str) -> Result<usize, String> {
    let wrong = |_| "write a whole number, such as 20".to_owned();
    text.parse().map_err(wrong)
}

fn since(text: &str) -> Result<Timestamp, String> {
    when::since(text, Timestamp::now())
}

impl Args {
    fn query(&self) -> Query {
        let all = self.since.is_some();
        Query {
            after: None,
            since_ms: self.since.map(Timestamp::as_millisecond),
            last: self.last.or((!all).then_some(LAST)),
            instance: self.instance.clone(),
            wait: Duration::ZERO,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let query = args.query();
    let mut teller = Teller::new(args.json);
    if let Some(directory) = &args.state_dir {
        return from_files(directory, &query, &mut teller);
    }
    let socket = args.agent.socket();
    let page = match client::fetch_events(&socket, &query, client::TIMEOUT) {
        Ok(page) => page,
        Err(error) => {
            let exit = agent::no_answer(&error);
            hint(&error);
            return Ok(exit);
        }
    };
    if page.events.is_empty()
        && let Some(name) = &args.instance
        && let Ok(document) = client::fetch_status(&socket, client::TIMEOUT)
        && document.instance(name).is_none()
    {
        output::complain(&unknown::instance(&document, name));
        return Ok(ExitCode::FAILURE);
    }
    if !teller.tell(&page)? || !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    follow(&socket, query, page.next, &mut teller)
}

/// Until nobody reads any more.
fn follow(
    socket: &Path,
    mut query: Query,
    mut after: u64,
    teller: &mut Teller,
) -> anyhow::Result<ExitCode> {
    query.wait = WAIT;
    let mut away = false;
    loop {
        query.after = Some(after);
        match client::fetch_events(socket, &query, client::TIMEOUT) {
            Ok(page) => {
                if std::mem::take(&mut away) {
                    output::complain("the agent answers again");
                }
                if !teller.tell(&page)? {
                    return Ok(ExitCode::SUCCESS);
                }
                after = page.next;
                if page.newest < page.next.max(query.after.unwrap_or(0)) {
                    output::complain("the agent has lost its history, which begins anew");
                    after = 0;
                }
            }
            Err(error @ (ClientError::Forbidden { .. } | ClientError::NotOurs { .. })) => {
                return Ok(agent::no_answer(&error));
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    output::complain(&format!("{error}; waiting for it"));
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Where the history is when nobody can tell it.
fn hint(error: &ClientError) {
    if matches!(error, ClientError::Absent(_) | ClientError::Dead(_)) {
        output::complain(
            "what it wrote before can be read without it: \
             `vipward events --state-dir /var/lib/vipward`",
        );
    }
}

fn from_files(directory: &Path, query: &Query, teller: &mut Teller) -> anyhow::Result<ExitCode> {
    let past = history::read(directory);
    for problem in &past.problems {
        output::complain(problem);
    }
    for (path, lines) in &past.damaged {
        let path = path.display();
        let damaged = words::count(*lines, "damaged line", "damaged lines");
        output::complain(&format!("{damaged} of {path} skipped"));
    }
    let wanted = |record: &&Record| {
        let late = query
            .since_ms
            .is_none_or(|since| record.time.0.as_millisecond() >= since);
        late && (query.instance.is_none() || query.instance == record.instance)
    };
    let found: Vec<&Record> = past.records.iter().filter(wanted).collect();
    let surplus = query
        .last
        .map_or(0, |last| found.len().saturating_sub(last));
    let found = found.get(surplus..).unwrap_or_default();
    teller.tell_each(
        found
            .iter()
            .filter_map(|record| serde_json::to_value(record).ok()),
    )?;
    if !past.problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if past.records.is_empty() {
        output::complain(&format!("there are no events in {}", directory.display()));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints, as long as somebody reads.
struct Teller {
    json: bool,
    story: Story,
}

impl Teller {
    fn new(json: bool) -> Self {
        let story = Story::new(status::colour());
        Self { json, story }
    }

    /// `false`: nobody reads.
    fn tell(&mut self, page: &EventsPage) -> io::Result<bool> {
        self.tell_each(page.events.iter().cloned())
    }

    fn tell_each(&mut self, events: impl Iterator<Item = Value>) -> io::Result<bool> {
        let mut text = String::new();
        for event in events {
            if self.json {
                text.push_str(&event.to_string());
                text.push('\n');
            } else if let Some(record) = client::record(&event) {
                text.push_str(&self.story.tell(&record));
            }
        }
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }
}
