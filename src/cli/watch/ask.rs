//! What brings news: the keyboard, signals, the agent.

use std::io;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use nix::sys::signal::{SigSet, Signal};

use super::News;
use crate::control::client::{self, ClientError, OrderAnswer};
use crate::control::events::query::Query;
use crate::control::moves::Wish;
use crate::control::watch::Key;

/// Events asked for at first.
const LAST: usize = 200;
/// One question waits so long for an event. Then the present is asked for all
/// the same: not everything that changes is an event.
const WAIT: Duration = Duration::from_secs(3);
/// From one answer to the next question, however much happens.
const PACE: Duration = Duration::from_millis(100);
/// Before an agent that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Call it before other threads are made: they inherit that they leave these
/// signals alone.
pub fn end_on_signals(news: &SyncSender<News>) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let news = news.clone();
    thread::Builder::new().spawn(move || {
        // Interrupted without cause, or one of them came: either ends it.
        let _ = signals.wait();
        let _ = news.send(News::End);
    })?;
    Ok(())
}

/// Until the terminal is gone.
pub fn listen_to_keys(news: &SyncSender<News>) -> io::Result<()> {
    let news = news.clone();
    thread::Builder::new().spawn(move || {
        loop {
            let said = match event::read() {
                Ok(Event::Key(key)) => known(key).map(News::Key),
                Ok(Event::Resize(_, _)) => Some(News::Resized),
                Ok(Event::FocusGained | Event::FocusLost | Event::Mouse(_)) => None,
                #[allow(unreachable_patterns, reason = "depends on features of the library")]
                Ok(_) => None,
                Err(_) => Some(News::End),
            };
            let ends = matches!(said, Some(News::End));
            if said.is_some_and(|said| news.send(said).is_err()) || ends {
                return;
            }
        }
    })?;
    Ok(())
}

fn known(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(Key::Interrupt),
        KeyCode::Char(letter) => Some(Key::Letter(letter)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Esc => Some(Key::Leave),
        _ => None,
    }
}

/// Asks for what happens, and for the present whenever something has.
pub fn follow(socket: &Path, news: &SyncSender<News>) -> io::Result<()> {
    let (socket, news) = (socket.to_owned(), news.clone());
    thread::Builder::new().spawn(move || {
        let mut after = None;
        // Until the view is gone.
        while let Some(pause) = look(&socket, &mut after, &news) {
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

/// `None`: nobody looks any more. Otherwise how long to pause.
fn look(socket: &Path, after: &mut Option<u64>, news: &SyncSender<News>) -> Option<Duration> {
    let query = Query {
        after: *after,
        last: Some(LAST),
        wait: after.map_or(Duration::ZERO, |_| WAIT),
        ..Query::default()
    };
    let answers = client::fetch_events(socket, &query, client::TIMEOUT).and_then(|page| {
        let document = client::fetch_status(socket, client::TIMEOUT)?;
        Ok((page, document))
    });
    match answers {
        Ok((page, document)) => {
            // Of an agent that has lost its history everything is new.
            let lost = after.is_some_and(|after| page.newest < after);
            *after = Some(if lost { 0 } else { page.next });
            news.send(News::Events(page.records().collect())).ok()?;
            news.send(News::Present(Box::new(document))).ok()?;
            Some(PACE)
        }
        Err(error) => {
            news.send(News::Away(error.to_string())).ok()?;
            Some(PAUSE)
        }
    }
}

/// Has it carried out, and brings back what came of it.
pub fn order(socket: &Path, wish: Wish, news: &SyncSender<News>) -> io::Result<()> {
    let (socket, news) = (socket.to_owned(), news.clone());
    thread::Builder::new().spawn(move || {
        let outcome = match client::request_order(&socket, &wish) {
            Ok(OrderAnswer::Done(done)) => Ok(done),
            Ok(OrderAnswer::Refused(why) | OrderAnswer::Forbidden(why)) => Err(why),
            Err(error) => Err(no_order(&error)),
        };
        let _ = news.send(News::Outcome(outcome));
    })?;
    Ok(())
}

fn no_order(error: &ClientError) -> String {
    format!("{error}; whether it was carried out is seen above")
}
