//! Whether something keeps this host's clock right.

use std::io;

/// What the kernel says of the clock that people set: true when some program
/// told it, not long ago, that it is synchronised.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all zeros is a valid `timex`; mode 0 only asks.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `timex`, which the call fills in.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(false),
        _ => Ok(state.status & libc::STA_UNSYNC == 0),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        assert!(super::is_synchronised().is_ok());
    }
}
