//! An operator's order on its way to the protocol loop and back.

use hyper::StatusCode;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::admin::Caller;
use super::events::fact::AgentFact;
use super::http::{Answer, error, respond};
use super::moves::{Errand, ORDER_TIMEOUT, Wish};
use super::server::{Request, Shared};

/// Of a caller who may.
pub(super) async fn order<C>(
    shared: &Shared<C>,
    caller: &Caller,
    path: &str,
    query: Option<&str>,
) -> Answer {
    let Wish { node, order } = match Wish::parse(path, query) {
        Ok(wish) => wish,
        Err(why) => {
            return error(
                StatusCode::BAD_REQUEST,
                &format!("{why}; nothing was changed"),
            );
        }
    };
    let asked = Wish {
        node: node.clone(),
        order: order.clone(),
    };
    let (reply, outcome) = oneshot::channel();
    let errand = Errand { node, order, reply };
    if shared.requests.try_send(Request::Order(errand)).is_err() {
        let why = "the protocol loop has too many requests before it, or is stopping; try again";
        return error(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let recorder = &shared.events.recorder;
    recorder.note(AgentFact::Ordered {
        by: caller.to_string(),
        order: asked.to_string(),
    });
    match timeout(ORDER_TIMEOUT, outcome).await {
        Ok(Ok(Ok(done))) => {
            let one_line = done.replace('\n', "; ");
            recorder.note(AgentFact::Done { done: one_line });
            respond(StatusCode::OK, format!("{}\n", json!({ "done": done })))
        }
        Ok(Ok(Err(why))) => {
            recorder.note(AgentFact::NotDone { why: why.clone() });
            error(StatusCode::CONFLICT, &why)
        }
        Ok(Err(_)) => {
            let why = "the agent stopped before that was done; see `vipward status`";
            error(StatusCode::CONFLICT, why)
        }
        Err(_) => {
            let why = "it is still under way after a long time; see `vipward status`";
            error(StatusCode::GATEWAY_TIMEOUT, why)
        }
    }
}
