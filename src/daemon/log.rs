//! The log. Lines are written by a thread of their own, since writing blocks;
//! at its bound of waiting lines the newest are dropped.

use std::{fmt, io};

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer, format};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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
        .with_ansi(false);
    // The journal has a clock of its own.
    let in_journal = is_journal();
    let text = format().with_target(false).with_ansi(false);
    let json = text.clone().json().flatten_event(true);
    let done = match (settings.format, in_journal) {
        (LogFormat::Json, _) => builder
            .fmt_fields(JsonFields::new())
            .event_format(Ranked {
                in_journal,
                line: json,
            })
            .try_init(),
        (LogFormat::Text, true) => {
            let line = text.without_time();
            builder.event_format(Ranked { in_journal, line }).try_init()
        }
        (LogFormat::Text, false) => builder.event_format(text).try_init(),
    };
    // Only a second agent in one process meets a logger that is there.
    let _ = done;
    guard
}

/// Whether standard error leads to the journal: the variable is inherited even
/// by those whose output was led elsewhere.
fn is_journal() -> bool {
    let Ok(file) = fstat(io::stderr()) else {
        return false;
    };
    std::env::var("JOURNAL_STREAM")
        .is_ok_and(|stream| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines that begin with their rank as the journal knows it, sd-daemon(3), so
/// that `journalctl -p warning` finds them.
struct Ranked<F> {
    in_journal: bool,
    line: F,
}

impl<S, N, F> FormatEvent<S, N> for Ranked<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.in_journal {
            let level = *event.metadata().level();
            let rank = match level {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                // Debug and trace.
                _ => 7,
            };
            write!(writer, "<{rank}>")?;
        }
        self.line.format_event(context, writer, event)
    }
}
