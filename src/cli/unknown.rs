//! An instance or a node that was named and does not exist.

use std::path::Path;

use crate::agent::moves::Order;
use crate::control::client;
use crate::control::document::Document;
use crate::control::moves::Wish;
use crate::control::{names, words};

/// Of an instance that this node does not have.
pub fn instance(document: &Document, name: &str) -> String {
    let node = &document.node;
    let elsewhere = document
        .nodes
        .iter()
        .filter(|node| node.instance(name).is_some());
    let elsewhere: Vec<&str> = elsewhere.map(|node| node.name.as_str()).collect();
    if !elsewhere.is_empty() {
        let who = words::list(&elsewhere, 3);
        return format!("there is no instance `{name}` on {node}; {who} has it");
    }
    let known = document.instances.iter();
    let known: Vec<&str> = known.map(|instance| instance.name.as_str()).collect();
    names::missing("instance", name, &format!("on {node}"), &known)
}

/// Why an order was refused, where that is a name nobody has; the agent's own
/// words cannot tell what was meant.
pub fn in_order(socket: &Path, wish: &Wish) -> Option<String> {
    let document = client::fetch_status(socket, client::TIMEOUT).ok()?;
    of_order(&document, wish)
}

fn of_order(document: &Document, wish: &Wish) -> Option<String> {
    let to = match &wish.order {
        Order::Handover { to, .. } => to.as_ref(),
        Order::Drain { .. } | Order::Undrain { .. } => None,
    };
    let told = [wish.node.as_ref(), to];
    if let Some(node) = told.into_iter().flatten().find_map(|name| {
        let name = name.as_str();
        node(document, name)
    }) {
        return Some(node);
    }
    let name = wish.order.instance()?.as_str();
    let on = wish.node.as_ref().map(|node| node.as_str());
    match on.filter(|on| *on != document.node) {
        None => (document.instance(name).is_none()).then(|| instance(document, name)),
        Some(on) => {
            let node = document.nodes.iter().find(|node| node.name == on)?;
            let known = node.instances.iter().map(|one| one.name.as_str());
            let known: Vec<&str> = known.collect();
            let is_known = known.is_empty() || known.contains(&name);
            (!is_known).then(|| names::missing("instance", name, &format!("on {on}"), &known))
        }
    }
}

/// Of a node that the cluster does not have. Without a cluster it is not the
/// name that is wrong.
fn node(document: &Document, name: &str) -> Option<String> {
    let others = document.nodes.iter().map(|node| node.name.as_str());
    let known: Vec<&str> = std::iter::once(document.node.as_str())
        .chain(others)
        .collect();
    let is_wrong = known.len() > 1 && !known.contains(&name);
    is_wrong.then(|| names::missing("node", name, "in the cluster", &known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::values::{InstanceName, NodeName};
    use crate::control::sample;
    use rstest::rstest;

    #[rstest]
    #[case(
        "wbe",
        "there is no instance `wbe` on lb1; did you mean `web`? It has: api, cache, db, fresh, mail, web"
    )]
    #[case(
        "postgres",
        "there is no instance `postgres` on lb1; it has: api, cache, db, fresh, mail, web"
    )]
    fn an_unknown_instance_names_the_nearest(#[case] name: &str, #[case] sentence: &str) {
        assert_eq!(instance(&sample::document(), name), sentence);
    }

    #[test]
    fn one_that_another_node_has_is_said_to_be_there() {
        assert_eq!(
            instance(&sample::cluster(), "there"),
            "there is no instance `there` on lb1; lb2 has it"
        );
    }

    #[test]
    fn an_agent_without_instances_says_so() {
        let mut document = sample::document();
        document.instances.clear();
        assert_eq!(
            instance(&document, "web"),
            "there is no instance `web` on lb1; it has none"
        );
    }

    #[rstest]
    #[case(None, "web", None, None)]
    #[case(
        None,
        "webb",
        None,
        Some("there is no instance `webb` on lb1; did you mean `web`?")
    )]
    #[case(
        Some("lb1"),
        "webb",
        None,
        Some("there is no instance `webb` on lb1; did you mean `web`?")
    )]
    #[case(
        Some("lb2"),
        "wbe",
        None,
        Some("there is no instance `wbe` on lb2; did you mean `web`?")
    )]
    #[case(Some("lb2"), "there", None, None)]
    // What is not heard has no instances that we know of.
    #[case(Some("lb3"), "wbe", None, None)]
    #[case(
        Some("lb22"),
        "web",
        None,
        Some("there is no node `lb22` in the cluster; did you mean `lb2`? It has: lb1, lb2, lb3")
    )]
    #[case(
        None,
        "web",
        Some("berlin"),
        Some("there is no node `berlin` in the cluster; it has: lb1, lb2, lb3")
    )]
    fn an_order_that_names_nobody(
        #[case] node: Option<&str>,
        #[case] instance: &str,
        #[case] to: Option<&str>,
        #[case] sentence: Option<&str>,
    ) {
        let wish = Wish {
            node: node.map(NodeName::new),
            order: Order::Handover {
                instance: InstanceName::new(instance),
                to: to.map(NodeName::new),
            },
        };
        let told = of_order(&sample::cluster(), &wish);
        match sentence {
            None => assert_eq!(told, None),
            Some(sentence) => assert!(
                told.as_deref()
                    .is_some_and(|told| told.starts_with(sentence)),
                "{told:?}"
            ),
        }
    }
}
