//! Any bytes as a story: settings, and what happens one after the other.

use arbitrary::{Arbitrary, Result, Unstructured};

use super::plan::Plan;

/// Longer ones show nothing new and cost time.
const STEPS_MAX: usize = 160;

#[derive(Clone, Debug)]
pub struct Script {
    pub plan: Plan,
    pub steps: Vec<Step>,
}

/// Small numbers are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Step {
    /// Time passes, with every wake-up in time.
    Pass(Pause),
    /// The host does not run, and then goes on.
    Sleep(Pause),
    /// A wake-up that nobody asked for.
    Wake,
    Advert(Sent),
    /// The interface as it really is, with or without what follows.
    Interface(Seen),
    Socket {
        which: u8,
        ipv6: bool,
        works: bool,
    },
    /// The kernel answers one of its orders, in turn unless told otherwise.
    Answer {
        which: u8,
        outcome: u8,
    },
    /// An answer to nothing.
    Unasked {
        instance: u8,
        address: u8,
        outcome: u8,
    },
    /// An advertisement that reached some of its destinations.
    NotSent(u8),
    Claim {
        which: u8,
        address: u8,
        who: u8,
        solicited: bool,
    },
    Job {
        which: u8,
        outcome: u8,
    },
    /// The highest 4,096 are a file that was read.
    UnaskedJob(u16),
    Reload(Plan),
    Stop,
    StopNow,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Pause {
    /// To the next deadline, and so many microseconds past it.
    Deadline(u8),
    Millis(u8),
    Seconds(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Sent {
    /// The instance that it is meant for.
    pub to: u8,
    /// The host that sends it; 1 is this one.
    pub from: u8,
    pub priority: u8,
    pub interval: u16,
    /// Of the pool.
    pub addresses: u8,
    /// What is wrong with it: nothing, more often than not.
    pub fault: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Seen {
    pub which: u8,
    /// Gone, down, renumbered, without IPv4, without IPv6, tentative, without
    /// its own addresses' scope, without what the agent added.
    pub bits: u8,
    /// Addresses of the pool that stand there as well.
    pub found: u8,
    /// Of those, the ones that bear our mark.
    pub marked: u8,
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let plan = bytes.arbitrary()?;
        let mut steps = Vec::new();
        while !bytes.is_empty() && steps.len() < STEPS_MAX {
            steps.push(bytes.arbitrary()?);
        }
        Ok(Self { plan, steps })
    }
}
