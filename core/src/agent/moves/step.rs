//! What two nodes say to each other in an exchange.

use std::time::Duration;

/// What a reason is cut to, in bytes.
pub const WHY_BYTES_MAX: usize = 300;

/// One message of an exchange. Each is bound to be answered within
/// [`super::REPLY`], and is said again until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the Active: "hand it over to me". `members`: who moves, see
    /// [`super::unit`].
    Request { members: u64 },
    /// "Will you take it?"
    Offer { members: u64 },
    /// "Yes"; what the asked one's hooks may take.
    Accept { hooks: Duration },
    /// "No", or "no longer".
    Refuse { why: String },
    /// "I let go for you."
    Yield { members: u64 },
    /// "I am about to take it." `claimed`: I advertise.
    Working { claimed: bool },
    /// "I have everything, and everyone was told."
    Taken,
    /// "I let go."
    Released,
    /// "I stay what I was."
    BreakOff { why: String },
}

impl Step {
    /// Never less than its encoded size, in bytes.
    pub fn size_max(&self) -> usize {
        match self {
            Step::Refuse { why } | Step::BreakOff { why } => 16 + why.len().min(WHY_BYTES_MAX),
            Step::Request { .. }
            | Step::Offer { .. }
            | Step::Accept { .. }
            | Step::Yield { .. }
            | Step::Working { .. }
            | Step::Taken
            | Step::Released => 24,
        }
    }
}
