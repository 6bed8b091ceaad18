//! What a service manager is told: ready, still alive, stopping. The telling
//! happens on a thread of its own, since its socket may block.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that may wait; more are dropped, and a watchdog that is not fed
/// for that reason is right to bite.
const WAITING: usize = 4;
/// For the guardian to end after us, and for what the manager does itself.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Does nothing where no service manager listens.
pub struct Service {
    messages: Option<SyncSender<NotifyState<'static>>>,
    /// How often the loop has to show that it lives.
    watchdog: Option<Duration>,
}

impl Service {
    pub fn start() -> std::io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self {
                messages: None,
                watchdog: None,
            });
        }
        let watchdog = sd_notify::watchdog_enabled();
        let (messages, waiting) = sync_channel::<NotifyState<'static>>(WAITING);
        std::thread::Builder::new()
            .name("vip-notify".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                for message in waiting {
                    if let Err(error) = sd_notify::notify(&[message]) {
                        tracing::warn!("cannot tell the service manager: {error}");
                    }
                }
            })?;
        Ok(Self {
            messages: Some(messages),
            watchdog,
        })
    }

    /// Half of what the service manager allows between two signs of life.
    pub fn pace(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    pub fn ready(&self) {
        self.tell(NotifyState::Ready);
    }

    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(NotifyState::Watchdog);
        }
    }

    pub fn stopping(&self) {
        self.tell(NotifyState::Stopping);
    }

    /// However short the unit's TimeoutStopSec is: the configuration knows
    /// better how long its hooks may take.
    pub fn needs_to_stop(&self, longest: Duration) {
        let longest = longest + STOP_MARGIN;
        let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        self.tell(NotifyState::ExtendTimeoutUsec(micros));
    }

    fn tell(&self, message: NotifyState<'static>) {
        if let Some(messages) = &self.messages {
            // Full: the manager is not reading; it will draw its conclusions.
            let _ = messages.try_send(message);
        }
    }
}
