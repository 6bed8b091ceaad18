//! Faults of planned moves: hand-over, drain, and what is kept of both.

use crate::list::{Mutation, fault};

const INCUMBENT: &str = "core/src/agent/moves/incumbent.rs";
const SUCCESSOR: &str = "core/src/agent/moves/successor.rs";
const TASK: &str = "core/src/agent/moves/task.rs";
const DRAIN: &str = "core/src/agent/moves/drain.rs";
const KEEPING: &str = "core/src/agent/moves/keeping.rs";
const DESK: &str = "core/src/agent/moves/desk.rs";
const MOVING: &str = "core/src/agent/router/moving.rs";
const DRAINING: &str = "core/src/agent/router/draining.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "an incumbent waits for its successor for ever",
        INCUMBENT,
        "        if patience.is_some_and(|at| at <= turn.now) {",
        "        if patience.is_some_and(|at| at <= turn.now) && false {",
    ),
    fault(
        "whoever advertises has taken over",
        INCUMBENT,
        "            (Stage::Yielding { .. }, Step::Taken) => self.taken = true,",
        "            (Stage::Yielding { .. }, Step::Taken | Step::Working { .. }) => self.taken = true,",
    ),
    fault(
        "the successor says at once that it has everything",
        SUCCESSOR,
        "            && members.iter().all(|member| member.has_taken(turn.now))",
        "            && members.iter().all(|member| member.has_taken(turn.now) || member.is_active())",
    ),
    fault(
        "an incumbent gives way to its successor's advertisement",
        MOVING,
        "                    self.keep_silent(now);\n                }\n                true",
        "                    self.keep_silent(now);\n                }\n                false",
    ),
    fault(
        "an incumbent speaks beside its successor",
        MOVING,
        "            *silent = true;",
        "            *silent = false;",
    ),
    fault(
        "what was handed over is preempted",
        MOVING,
        "        self.set_yielded(marked.then_some(Yielded { node, source }));",
        "        let _ = marked;",
    ),
    fault(
        "the successor's advertisement ends its protection",
        MOVING,
        "        if it == resigned {",
        "        if it || resigned || by.is_some() {",
    ),
    fault(
        "a successor is known by the peer link alone",
        MOVING,
        "            None => successor.source == source,",
        "            None => return,",
    ),
    fault(
        "whoever takes over respects nobody",
        MOVING,
        "            Part::Taking { source, .. } => source.is_none() || *source == active,",
        "            Part::Taking { source, .. } => source.is_none() || *source == active || true,",
    ),
    fault(
        "addresses that are still there make room",
        MOVING,
        "!self.has_let_go() || self.holdings.are_gone()",
        "!self.has_let_go() || self.moving.drained.is_none()",
    ),
    fault(
        "one that is warned stays",
        MOVING,
        "            self.moving.warned = true;",
        "            self.moving.warned = false;",
    ),
    fault(
        "one that is to go preempts whom it asked",
        DESK,
        "                    if leaves {",
        "                    if leaves && false {",
    ),
    fault(
        "what a drained group spreads is not written down",
        DRAIN,
        "            self.moves.keep |= news == Some(true);",
        "            let _ = news;",
    ),
    fault(
        "an order is forgotten once it is written down",
        TASK,
        "            writing: Some(serial),",
        "            writing: None,",
    ),
    fault(
        "a drain that is not written down goes on",
        KEEPING,
        "                    if let Some(task) = self.moves.tasks.tasks.remove(&id) {",
        "                    self.begin_task(now, actions, id, WallTime(0));\n                    \
         if let Some(task) = self.moves.tasks.tasks.remove(&id) {",
    ),
    fault(
        "a restarted agent takes part although drained",
        KEEPING,
        "                router.restore_drain(now, *end);",
        "                let _ = (router, end, now);",
    ),
    fault(
        "an undrain in the middle of a drain",
        DRAIN,
        "        match all.find(|unit| self.moves.tasks.drain(**unit)) {",
        "        match all.find(|unit| self.moves.tasks.drain(**unit) && false) {",
    ),
    fault(
        "a drain never ends by the time of day",
        DRAIN,
        "            Some(DrainEnd::At(end)) => end <= wall,",
        "            Some(DrainEnd::At(end)) => end <= wall && false,",
    ),
    fault(
        "a stop while nobody has come yet is forgotten",
        "core/src/agent/router/leaving.rs",
        "            State::Resigning(_) if planned => self.stay_out(turn.now),",
        "            State::Resigning(_) if planned => {}",
    ),
    fault(
        "who is preempted is deaf before its clients know",
        "core/src/agent/router/adverts.rs",
        "            if !slept {\n                // Clients",
        "            if false {\n                // Clients",
    ),
    fault(
        "who has overslept lingers",
        "core/src/agent/router/adverts.rs",
        "            if !slept {\n                // Clients",
        "            if true {\n                // Clients",
    ),
    fault(
        "a group for which nobody came returns one by one",
        DRAIN,
        "                members.iter_mut().for_each(|m| m.return_too(turn));",
        "",
    ),
    fault(
        "nobody came, and it is out all the same",
        DRAINING,
        "                self.claim(turn, Reason::Returned);",
        "                self.relieved(turn);",
    ),
];
