//! Faults of routes and rules.

use crate::list::{Mutation, fault};

const ADDRESSES: &str = "core/src/agent/router/addresses.rs";
const ROUTES: &str = "core/src/agent/routing/account.rs";
const ROUTE: &str = "core/src/agent/routing/entry.rs";
const OBSTACLES: &str = "core/src/agent/obstacles.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "a route does not wait for its source",
        ROUTES,
        "holdings.may_speak_from(source)",
        "source.is_ipv4() || holdings.may_speak_from(source)",
    ),
    fault(
        "a route does not wait for the other addresses",
        ROUTES,
        "                && holdings.are_decided_on(route.interface)\n",
        "",
    ),
    fault(
        "a rule does not wait for the routes",
        ROUTES,
        "if self.iter().any(undecided) || !holdings.are_decided() {",
        "if self.iter().any(undecided) && !holdings.are_decided() {",
    ),
    fault(
        "addresses go before the routes that follow them",
        ADDRESSES,
        "        self.routing.release(turn);\n        self.holdings.release(turn);\n",
        "        self.holdings.release(turn);\n        self.routing.release(turn);\n",
    ),
    fault(
        "a route is put back without a pause",
        ROUTE,
        "self.restore_after = Some(turn.now + pause);",
        "self.restore_after = Some(turn.now);",
    ),
    fault(
        "a route of a dead agent is left",
        ROUTE,
        "if seen && !self.present && !leaving {",
        "if seen && !self.present && leaving {",
    ),
    fault(
        "an addition that no report shows is believed",
        ROUTE,
        "self.confirmation().is_some_and(|at| at <= now)",
        "self.confirmation().is_some_and(|at| at < Instant::from_nanos(0))",
    ),
    fault(
        "a route that is not required costs the addresses",
        OBSTACLES,
        "let gravity = match entry.is_required() {\n                true",
        "let gravity = match entry.is_required() || self.before.list.len() < 99 {\n                true",
    ),
];
