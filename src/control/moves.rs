//! Planned moves on the control socket and in the document: orders as the
//! query of a path, `POST /drain?instance=web&for_ms=7200000`, and what has
//! become of them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::clock::Time;
use crate::agent::moves::{Answer, DrainEnd, Order};
use crate::agent::values::{InstanceName, NodeName, is_name};

/// From an order to its answer at the most: hooks of both nodes may be on the
/// way.
pub const ORDER_TIMEOUT: Duration = Duration::from_mins(15);

/// An order for the protocol loop, and who waits for its answer.
#[derive(Debug)]
pub struct Errand {
    /// Who is to do it; `None`: this node.
    pub node: Option<NodeName>,
    pub order: Order,
    pub reply: tokio::sync::oneshot::Sender<Answer>,
}

/// An order as it stands in a path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub node: Option<NodeName>,
    pub order: Order,
}

/// The paths.
pub const PATHS: [&str; 3] = ["/handover", "/drain", "/undrain"];

impl Wish {
    /// # Errors
    ///
    /// One sentence.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, String> {
        let mut fields = Fields::default();
        let given = query.unwrap_or_default().split('&');
        for field in given.filter(|field| !field.is_empty()) {
            fields.take(field)?;
        }
        let instance = fields.instance.as_deref().map(InstanceName::new);
        let order = match path {
            "/handover" => Order::Handover {
                instance: instance.ok_or("a hand-over needs an instance")?,
                to: fields.to.as_deref().map(NodeName::new),
            },
            "/drain" => Order::Drain {
                instance,
                span: fields.span,
                force: fields.force,
            },
            "/undrain" => Order::Undrain { instance },
            _ => return Err(format!("there is no order {path}")),
        };
        Ok(Self {
            node: fields.node.as_deref().map(NodeName::new),
            order,
        })
    }

    /// What [`Wish::parse`] reads. Names need no quoting.
    pub fn target(&self) -> String {
        let mut fields = Vec::new();
        if let Some(name) = self.order.instance() {
            fields.push(format!("instance={name}"));
        }
        if let Some(node) = &self.node {
            fields.push(format!("node={node}"));
        }
        let path = match &self.order {
            Order::Handover { to, .. } => {
                fields.extend(to.as_ref().map(|to| format!("to={to}")));
                "/handover"
            }
            Order::Drain { span, force, .. } => {
                fields.extend(span.map(|span| format!("for_ms={}", span.as_millis())));
                fields.extend(force.then(|| "force=true".to_owned()));
                "/drain"
            }
            Order::Undrain { .. } => "/undrain",
        };
        format!("{path}?{}", fields.join("&"))
    }
}

/// As it is written on the command line.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.order {
            Order::Handover { .. } => "handover",
            Order::Drain { .. } => "drain",
            Order::Undrain { .. } => "undrain",
        })?;
        if let Some(name) = self.order.instance() {
            write!(f, " {name}")?;
        }
        match &self.order {
            Order::Handover { to: Some(to), .. } => write!(f, " --to {to}")?,
            Order::Drain { span, force, .. } => {
                if let Some(span) = span {
                    match (span.as_secs(), span.subsec_millis()) {
                        (seconds, 0) => write!(f, " --for {seconds}s")?,
                        _ => write!(f, " --for {}ms", span.as_millis())?,
                    }
                }
                if *force {
                    f.write_str(" --force")?;
                }
            }
            Order::Handover { to: None, .. } | Order::Undrain { .. } => {}
        }
        if let Some(node) = &self.node {
            write!(f, " --node {node}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Fields {
    instance: Option<String>,
    node: Option<String>,
    to: Option<String>,
    span: Option<Duration>,
    force: bool,
}

impl Fields {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let name = || match is_name(value) {
            true => Ok(Some(value.to_owned())),
            false => Err(format!("{key} is no name")),
        };
        match key {
            "instance" => self.instance = name()?,
            "node" => self.node = name()?,
            "to" => self.to = name()?,
            "force" => self.force = value == "true",
            "for_ms" => {
                let millis = value.parse().map_err(|_| format!("{key} is no number"))?;
                self.span = Some(Duration::from_millis(millis));
            }
            _ => return Err("the order has a field that is not known".to_owned()),
        }
        Ok(())
    }
}

/// That an operator took an instance out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// When that ends by itself; null: it does not.
    pub until: Option<Time>,
}

impl Drain {
    pub(super) fn new(end: DrainEnd) -> Self {
        let until = match end {
            DrainEnd::Never | DrainEnd::After(_) => None,
            DrainEnd::At(wall) => {
                let millis = i64::try_from(wall.0).unwrap_or(i64::MAX);
                Timestamp::from_millisecond(millis).ok().map(Time)
            }
        };
        Self { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Order::Handover { instance: InstanceName::new("web"), to: None }, None)]
    #[case(Order::Handover { instance: InstanceName::new("web"), to: Some(NodeName::new("lb2")) }, Some("lb1"))]
    #[case(Order::Drain { instance: None, span: None, force: true }, Some("lb1"))]
    #[case(Order::Drain { instance: Some(InstanceName::new("a.b-c_d")), span: Some(Duration::from_millis(7)), force: false }, None)]
    #[case(Order::Undrain { instance: None }, None)]
    fn an_order_is_read_as_it_was_written(#[case] order: Order, #[case] node: Option<&str>) {
        let node = node.map(NodeName::new);
        let wish = Wish { node, order };
        let target = wish.target();
        let (path, query) = target.split_once('?').unwrap();
        assert_eq!(Wish::parse(path, Some(query)), Ok(wish));
    }

    #[rstest]
    #[case(
        "/handover?instance=web&to=lb2&node=lb1",
        "handover web --to lb2 --node lb1"
    )]
    #[case(
        "/drain?instance=web&for_ms=7200000&force=true",
        "drain web --for 7200s --force"
    )]
    #[case("/drain?for_ms=1500", "drain --for 1500ms")]
    #[case("/undrain?instance=web", "undrain web")]
    fn it_is_told_as_it_was_typed(#[case] target: &str, #[case] told: &str) {
        let (path, query) = target.split_once('?').unwrap();
        let wish = Wish::parse(path, Some(query)).unwrap();
        assert_eq!(wish.to_string(), told);
    }

    #[rstest]
    #[case("/handover", "", "needs an instance")]
    #[case("/drain", "instance=a/b", "is no name")]
    #[case("/drain", "for_ms=x", "is no number")]
    #[case("/drain", "for_ms=99999999999999999999", "is no number")]
    #[case("/undrain", "x=1", "not known")]
    #[case("/status", "", "no order")]
    fn nonsense_is_refused(#[case] path: &str, #[case] query: &str, #[case] why: &str) {
        let error = Wish::parse(path, Some(query)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
