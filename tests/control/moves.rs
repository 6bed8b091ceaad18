//! Orders of operators over the socket.

use rstest::rstest;
use vipward::agent::moves::Order;
use vipward::agent::values::{InstanceName, NodeName};
use vipward::control::client::{OrderAnswer, request_order};
use vipward::control::moves::Wish;

use super::*;

fn drain(instance: &str) -> Wish {
    Wish {
        node: None,
        order: Order::Drain {
            instance: Some(InstanceName::new(instance)),
            span: Some(Duration::from_secs(7200)),
            force: false,
        },
    }
}

#[test]
fn an_order_reaches_the_loop_and_its_answer_the_operator() {
    let agent = Agent::start(Vec::new());
    let answer = request_order(&agent.socket(), &drain("web")).unwrap();
    let OrderAnswer::Done(text) = answer else {
        panic!("{answer:?}");
    };
    // The loop says what it was asked.
    assert!(text.contains("Drain") && text.contains("7200s"), "{text}");
    let handover = Wish {
        node: Some(NodeName::new("lb2")),
        order: Order::Handover {
            instance: InstanceName::new("web"),
            to: None,
        },
    };
    let answer = request_order(&agent.socket(), &handover).unwrap();
    assert!(
        matches!(&answer, OrderAnswer::Done(text) if text.starts_with("lb2")),
        "{answer:?}"
    );
}

#[test]
fn a_refusal_is_a_sentence() {
    let agent = Agent::start(Vec::new());
    let answer = request_order(&agent.socket(), &drain("nonsense")).unwrap();
    assert_eq!(
        answer,
        OrderAnswer::Refused("there is no instance nonsense".to_owned())
    );
}

#[rstest]
#[case("POST /handover HTTP/1.1\r\nhost: a\r\n\r\n", 400)]
#[case("POST /drain?instance=%2e%2e HTTP/1.1\r\nhost: a\r\n\r\n", 400)]
#[case("POST /drain?for_ms=-1 HTTP/1.1\r\nhost: a\r\n\r\n", 400)]
#[case("GET /drain HTTP/1.1\r\nhost: a\r\n\r\n", 405)]
#[case("POST /drains HTTP/1.1\r\nhost: a\r\n\r\n", 404)]
fn nonsense_is_refused(#[case] request: &str, #[case] status: u16) {
    let agent = Agent::start(Vec::new());
    let answer = agent.say(request.as_bytes());
    let expected = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&expected), "{answer}");
}

/// One whose loop has gone says so at once.
#[test]
fn an_agent_that_stops_answers() {
    let (requests, due) = mpsc::channel(1);
    drop(due);
    let agent = Agent::with_loop(requests);
    let answer = request_order(&agent.socket(), &drain("web"));
    let text = format!("{answer:?}");
    assert!(text.contains("stopping"), "{text}");
}

/// The agent's words are replaced by those that tell what was meant.
#[rstest]
#[case(&["drain", "wbe"], "there is no instance `wbe` on lb1; did you mean `web`? It has: api, web")]
#[case(&["undrain", "wbe"], "there is no instance `wbe` on lb1; did you mean `web`? It has: api, web")]
#[case(&["handover", "wbe"], "there is no instance `wbe` on lb1; did you mean `web`? It has: api, web")]
#[case(
    &["handover", "nonsense", "--to", "lb22"],
    "there is no node `lb22` in the cluster; did you mean `lb2`? It has: lb1, lb2"
)]
// What is refused for another reason is told as the agent told it.
#[case(&["drain", "api"], "api is being moved already")]
fn a_name_that_nobody_has_is_answered_by_what_was_meant(
    #[case] arguments: &[&str],
    #[case] sentence: &str,
) {
    let agent = Agent::start(vec![
        instance("api", StateName::Active),
        instance("web", StateName::Active),
    ]);
    let output = command(agent.directory.path(), arguments);
    assert_eq!(code(&output), 1, "{output:?}");
    assert_eq!(stderr(&output).trim(), format!("vipward: {sentence}"));
}
