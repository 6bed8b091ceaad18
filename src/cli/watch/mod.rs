//! `vipward status --watch`: the terminal, the agent and the keys around the
//! view, which is in [`crate::control::watch`].

mod ask;
mod screen;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::agent;
use crate::control::client;
use crate::control::document::Document;
use crate::control::events::record::Record;
use crate::control::watch::draw::draw;
use crate::control::watch::{Deed, Key, Model};
use screen::Screen;

/// Ages grow on the screen at this pace, without a question to the agent.
const TICK: Duration = Duration::from_secs(1);
/// From one drawing to the next, however fast things change.
const PACE: Duration = Duration::from_millis(100);
/// What may wait to be shown. At the bound whoever brings it waits.
const WAITING: usize = 64;

/// What the view is told.
enum News {
    Key(Key),
    Resized,
    Present(Box<Document>),
    Events(Vec<Record>),
    Away(String),
    Outcome(Result<String, String>),
    /// A signal wants us gone.
    End,
}

/// Shows what the agent on `socket` does until the operator has seen enough.
pub fn run(socket: &Path) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("--watch needs a terminal; `vipward events --follow` and `status --json` do without");
    }
    let document = match client::fetch_status(socket, client::TIMEOUT) {
        Ok(document) => document,
        Err(error) => return Ok(agent::no_answer(&error)),
    };
    let (news, arrivals) = sync_channel(WAITING);
    // Before there are threads: they all leave the signals to one.
    ask::end_on_signals(&news).context("cannot listen for signals")?;
    let mut screen = Screen::take().context("cannot take the terminal")?;
    ask::listen_to_keys(&news)?;
    ask::follow(socket, &news)?;
    let model = Model::new(document);
    let outcome = show(model, &mut screen, &arrivals, &news, socket);
    drop(screen);
    outcome.context("the terminal cannot be written to")?;
    Ok(ExitCode::SUCCESS)
}

fn show(
    mut model: Model,
    screen: &mut Screen,
    arrivals: &Receiver<News>,
    news: &SyncSender<News>,
    socket: &Path,
) -> io::Result<()> {
    loop {
        let (columns, rows) = screen.size();
        let lines = draw(&model, Timestamp::now(), columns, rows);
        screen.paint(&lines)?;
        let drawn = Instant::now();
        let mut wait = TICK;
        // Everything that comes within the pace is one change.
        loop {
            match arrivals.recv_timeout(wait) {
                Ok(News::End) => return Ok(()),
                Ok(News::Key(key)) => match model.key(key) {
                    Some(Deed::Quit) => return Ok(()),
                    Some(Deed::Order(wish)) => ask::order(socket, wish, news)?,
                    None => {}
                },
                Ok(News::Resized) => screen.forget(),
                Ok(News::Present(document)) => model.update(*document),
                Ok(News::Events(records)) => model.add_events(records),
                Ok(News::Away(why)) => model.lose(Timestamp::now(), why),
                Ok(News::Outcome(outcome)) => model.hear(outcome),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            wait = PACE.saturating_sub(drawn.elapsed());
            if wait.is_zero() {
                break;
            }
        }
    }
}
