//! What agent and runner say to each other: one JSON object in each frame.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::jobs::{HookOwner, Job, JobId, JobResult, Task, Verdict};
use crate::agent::values::{GroupName, InstanceName};

/// Raised when either side would misunderstand the other.
pub const PROTOCOL: u32 = 3;

/// The agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// First, and again now and then: answered at once, it shows that the
    /// runner lives.
    Hello(Hello),
    /// Reads the configuration file again.
    Reload {
        id: u64,
    },
    Check {
        id: u64,
        name: String,
    },
    Hook {
        id: u64,
        call: Call,
    },
    /// The agent ends on purpose and is not to be waited for.
    Goodbye,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    pub protocol: u32,
    /// Of the program.
    pub version: String,
    /// The configuration file, as the sender was told it.
    pub config: String,
}

/// Whose hook it is, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    Instance(String),
    Group(String),
}

impl Owner {
    fn of(owner: &HookOwner) -> Self {
        match owner {
            HookOwner::Instance(name) => Owner::Instance(name.as_str().to_owned()),
            HookOwner::Group(name) => Owner::Group(name.as_str().to_owned()),
        }
    }

    pub fn to_owner(&self) -> HookOwner {
        match self {
            Owner::Instance(name) => HookOwner::Instance(InstanceName::new(name)),
            Owner::Group(name) => HookOwner::Group(GroupName::new(name)),
        }
    }
}

/// [`crate::agent::jobs::HookCall`], as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub owner: Owner,
    pub hook: String,
    pub word: String,
    pub state: String,
    pub previous: String,
    pub reason: String,
    pub priority: u8,
    pub addresses: Vec<IpAddr>,
}

/// The runner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    Hello(Hello),
    Reloaded {
        id: u64,
        /// Absent when all went well; otherwise the old catalog stays.
        error: Option<String>,
        /// Of the new catalog, when all went well.
        digest: Option<String>,
    },
    Done {
        id: u64,
        verdict: WireVerdict,
        duration_us: u64,
        output: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireVerdict {
    Passed,
    Failed(String),
    TimedOut,
    Refused(String),
    NotRun(String),
}

impl Request {
    pub fn of_job(job: &Job) -> Self {
        let id = job.id.0;
        match &job.task {
            Task::Check(name) => Request::Check {
                id,
                name: name.as_str().to_owned(),
            },
            Task::Hook(call) => Request::Hook {
                id,
                call: Call {
                    owner: Owner::of(&call.owner),
                    hook: call.hook.name().to_owned(),
                    word: call.word.to_owned(),
                    state: call.state.to_owned(),
                    previous: call.previous.to_owned(),
                    reason: call.reason.to_owned(),
                    priority: call.priority,
                    addresses: call.addresses.clone(),
                },
            },
        }
    }
}

impl Answer {
    pub fn done(id: u64, result: JobResult) -> Self {
        Answer::Done {
            id,
            verdict: match result.verdict {
                Verdict::Passed => WireVerdict::Passed,
                Verdict::Failed(why) => WireVerdict::Failed(why),
                Verdict::TimedOut => WireVerdict::TimedOut,
                Verdict::Refused(why) => WireVerdict::Refused(why),
                Verdict::NotRun(why) => WireVerdict::NotRun(why),
            },
            duration_us: u64::try_from(result.duration.as_micros()).unwrap_or(u64::MAX),
            output: result.output,
        }
    }
}

/// The result that a [`Answer::Done`] carries.
pub fn result(
    id: u64,
    verdict: WireVerdict,
    duration_us: u64,
    output: String,
) -> (JobId, JobResult) {
    let verdict = match verdict {
        WireVerdict::Passed => Verdict::Passed,
        WireVerdict::Failed(why) => Verdict::Failed(why),
        WireVerdict::TimedOut => Verdict::TimedOut,
        WireVerdict::Refused(why) => Verdict::Refused(why),
        WireVerdict::NotRun(why) => Verdict::NotRun(why),
    };
    let result = JobResult {
        verdict,
        duration: Duration::from_micros(duration_us),
        output,
    };
    (JobId(id), result)
}

/// A result of what was not started.
pub fn unstarted(verdict: Verdict) -> JobResult {
    JobResult {
        verdict,
        duration: Duration::ZERO,
        output: String::new(),
    }
}
