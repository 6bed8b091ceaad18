//! The clock of the election, and the one timer that the loop waits for.
//! Tokio's own timers come 1 ms late and more; this one 0.04 ms.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::agent::time::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// CLOCK_BOOTTIME: like CLOCK_MONOTONIC, and it goes on while the host is
/// suspended, so that a suspension is seen for what it is to the peers.
pub fn now() -> Instant {
    // The kernel cannot refuse this clock; it counts up from zero.
    let time = clock_gettime(Clock::CLOCK_BOOTTIME).unwrap_or(TimeSpec::new(0, 0));
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Instant::from_nanos(
        seconds
            .saturating_mul(NANOS_PER_SECOND)
            .saturating_add(nanos),
    )
}

/// One absolute timer on the clock of [`now`].
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<Registered>,
    /// What the kernel's timer is set to, until its expiry is consumed.
    armed: Option<Instant>,
}

#[derive(Debug)]
struct Registered(TimerFd);

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// Not armed. An error outside of a tokio runtime, which must have its
    /// I/O enabled.
    pub fn new() -> io::Result<Self> {
        Handle::try_current().map_err(io::Error::other)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        // SAFETY: `Registered` owns the descriptor, gives the same one always,
        // and only the `AsyncFd` closes it, by being dropped.
        let fd = unsafe { AsyncFd::register_with_interest(Registered(timer), Interest::READABLE) };
        Ok(Self {
            fd: fd?,
            armed: None,
        })
    }

    /// Replaces the instant at which the timer fires; one in the past fires
    /// at once, `None` never. An expiry of before that nobody waited for is
    /// forgotten, unless the instant is the same.
    pub fn arm(&mut self, at: Option<Instant>) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        let timer = &self.fd.get_ref().0;
        match at {
            None => timer.unset()?,
            Some(at) => timer.set(
                Expiration::OneShot(time_spec(at)),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
        }
        self.armed = at;
        Ok(())
    }

    /// Fires at the instant or earlier: a timer that is armed for an earlier
    /// one is left alone, which spares a system call for each time that a
    /// deadline moves away. Whoever is woken looks at the clock anyway. Where
    /// it would fire in less than half of the time, it is armed anew: being
    /// woken for nothing costs more than that.
    pub fn arm_by(&mut self, now: Instant, at: Instant) -> io::Result<()> {
        let long = at.since(now) / 2;
        match self.armed {
            Some(armed) if armed <= at && armed.since(now) >= long => Ok(()),
            Some(_) | None => self.arm(Some(at)),
        }
    }

    /// Waits for the instant, for ever when there is none. The timer is then
    /// no longer armed. Dropping the future loses nothing.
    pub async fn expired(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.fd.readable().await?;
            let outcome = guard.try_io(|fd| read_expirations(fd.get_ref()));
            match outcome {
                Ok(Ok(())) => {
                    // Nothing is to be read before it is armed again; saying
                    // so spares the next wait an attempt.
                    guard.clear_ready();
                    self.armed = None;
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                // Armed anew since the runtime heard of an expiry.
                Err(_not_yet) => {}
            }
        }
    }
}

fn read_expirations(timer: &Registered) -> io::Result<()> {
    let mut count = [0; 8];
    nix::unistd::read(timer.0.as_fd(), &mut count)?;
    Ok(())
}

/// Zero would disarm the timer: the first nanosecond is as long ago.
fn time_spec(at: Instant) -> TimeSpec {
    let nanos = at.as_nanos().max(1);
    // At most 2^64 ns, which is 18 thousand million seconds: both fit.
    let seconds = i64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(i64::MAX);
    let rest = i64::try_from(nanos % NANOS_PER_SECOND).unwrap_or(0);
    TimeSpec::new(seconds, rest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// For what must not happen.
    const MOMENT: Duration = Duration::from_millis(30);

    fn timer(at: Option<Instant>) -> Timer {
        let mut timer = Timer::new().expect("a timer");
        timer.arm(at).expect("armed");
        timer
    }

    async fn fires(timer: &mut Timer) {
        let outcome = timeout(PATIENCE, timer.expired()).await;
        outcome.expect("it fires").expect("expired");
    }

    async fn keeps_quiet(timer: &mut Timer) {
        let outcome = timeout(MOMENT, timer.expired()).await;
        assert!(outcome.is_err(), "it fired");
    }

    #[test]
    fn the_clock_goes_forward_at_the_kernels_pace() {
        let before = now();
        std::thread::sleep(MOMENT);
        let passed = now().since(before);
        assert!(passed >= MOMENT && passed < PATIENCE, "{passed:?}");
    }

    #[tokio::test]
    async fn fires_at_the_instant_and_once() {
        let at = now() + Duration::from_millis(20);
        let mut timer = timer(Some(at));
        fires(&mut timer).await;
        let late = now().since(at);
        assert!(now() >= at, "early");
        assert!(late < Duration::from_secs(1), "late by {late:?}");
        keeps_quiet(&mut timer).await;
    }

    #[tokio::test]
    async fn the_past_fires_at_once_and_each_time() {
        let past = now();
        for at in [Instant::from_nanos(0), past, past] {
            let mut timer = timer(Some(at));
            fires(&mut timer).await;
            // The same instant again: it is not taken for unchanged.
            timer.arm(Some(at)).expect("armed");
            fires(&mut timer).await;
        }
    }

    #[tokio::test]
    async fn unarmed_it_never_fires() {
        keeps_quiet(&mut timer(None)).await;
        let mut armed = timer(Some(now() + Duration::from_millis(5)));
        armed.arm(None).expect("disarmed");
        keeps_quiet(&mut armed).await;
        keeps_quiet(&mut timer(Some(Instant::from_nanos(u64::MAX)))).await;
    }

    /// An expiry that nobody waited for does not survive a new instant,
    /// whether or not the runtime has heard of it.
    #[tokio::test]
    async fn arming_anew_forgets_the_expiry() {
        for heard_of in [false, true] {
            let mut timer = timer(Some(now()));
            if heard_of {
                let ready = timeout(PATIENCE, timer.fd.readable()).await;
                ready.expect("ready").expect("ready").retain_ready();
            }
            let at = now() + MOMENT * 2;
            timer.arm(Some(at)).expect("armed");
            keeps_quiet(&mut timer).await;
            fires(&mut timer).await;
            assert!(now() >= at, "early");
        }
    }

    /// What is later comes up when it is asked for again.
    #[tokio::test]
    async fn armed_by_an_instant_it_fires_no_later() {
        let begin = now();
        let early = begin + MOMENT;
        let mut timer = timer(Some(early));
        timer.arm_by(begin, early + MOMENT / 2).expect("armed");
        fires(&mut timer).await;
        let begin = now();
        let again = begin + MOMENT;
        timer.arm_by(begin, begin + PATIENCE * 10).expect("armed");
        timer.arm_by(begin, again).expect("armed");
        fires(&mut timer).await;
        assert!(now() >= again, "early");
        keeps_quiet(&mut timer).await;
    }

    /// A deadline that moves away all the time wakes nobody.
    #[tokio::test]
    async fn a_deadline_that_moves_away_is_followed() {
        let mut timer = timer(None);
        let mut armed = Vec::new();
        for step in 0..100 {
            let now = Instant::from_nanos(0) + PATIENCE * 1_000_000 + MOMENT * step;
            timer.arm_by(now, now + MOMENT * 10).expect("armed");
            assert!(timer.armed.is_some_and(|at| at > now), "it would fire");
            armed.push(timer.armed);
        }
        armed.dedup();
        assert!(armed.len() < 25, "armed {} times", armed.len());
    }

    #[tokio::test]
    async fn one_that_is_due_fires_at_once() {
        let mut timer = timer(None);
        for _ in 0..3 {
            let due = now();
            timer.arm_by(due, due).expect("armed");
            fires(&mut timer).await;
        }
    }

    #[tokio::test]
    async fn arming_the_same_keeps_the_expiry() {
        let at = now();
        let mut timer = timer(Some(at));
        timer.arm(Some(at)).expect("armed");
        fires(&mut timer).await;
    }

    #[tokio::test]
    async fn a_wait_that_is_dropped_loses_nothing() {
        let at = now() + MOMENT;
        let mut timer = timer(Some(at));
        while now() < at {
            tokio::select! {
                _ = timer.expired() => {
                    assert!(now() >= at, "early");
                    return;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        fires(&mut timer).await;
    }

    #[test]
    fn outside_of_a_runtime_it_is_an_error() {
        assert!(Timer::new().is_err());
    }
}
