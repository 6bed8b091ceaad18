//! The log. Lines are written by a thread of their own, since writing blocks;
//! at its bound of waiting lines the newest are dropped.

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Lines that may wait to be written.
const LINES_WAITING: usize = 4096;

/// Starts logging to standard error. What waits is written when the guard is
/// dropped.
pub fn start(settings: LogSettings) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("vipward-log")
        .finish(io::stderr());
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    // The journal has a clock of its own.
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let done = match (settings.format, in_journal) {
        (LogFormat::Json, _) => builder.json().flatten_event(true).try_init(),
        (LogFormat::Text, true) => builder.without_time().try_init(),
        (LogFormat::Text, false) => builder.try_init(),
    };
    // Only a second agent in one process meets a logger that is there.
    let _ = done;
    guard
}
