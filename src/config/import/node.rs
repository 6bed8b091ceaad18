//! The configuration as it is being made: YAML that knows of each line where it
//! comes from, and what it could do without.

use crate::config::emit;
use crate::config::fault::Place;

/// A key with its value, or an item of a list.
#[derive(Debug)]
pub(super) struct Node {
    key: Option<String>,
    value: Value,
    /// The words that it was translated from.
    pub origin: Vec<Place>,
    /// The rest makes sense without it.
    optional: bool,
    comments: Vec<String>,
    /// What the priority of the instance is higher by, because of it.
    raises: u16,
    /// It is left out, and why.
    pub refused: Option<String>,
}

#[derive(Debug)]
enum Value {
    /// As it is to be written.
    Inline(String),
    /// Before it is raised by what raises it.
    Priority(u16),
    Section(Vec<Node>),
    List(Vec<Node>),
}

/// Where a node is: the position among its siblings, from the outermost on.
pub(super) type Path = Vec<usize>;

/// A text, and whose each of its lines is; comments are nobody's.
pub(super) struct Written {
    pub text: String,
    pub owners: Vec<Option<Path>>,
}

/// `text` as a scalar of YAML.
pub(super) fn scalar(text: &str) -> String {
    emit::scalar(text)
}

/// Within `[]` and `{}` more is special.
pub(super) fn flow_scalar(text: &str) -> String {
    match text.contains([':', ',']) {
        // A word that needs no quotes elsewhere is free of what they escape.
        true if scalar(text) == text => format!("\"{text}\""),
        _ => scalar(text),
    }
}

/// `[a, b]`.
pub(super) fn flow_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| flow_scalar(item)).collect();
    format!("[{}]", items.join(", "))
}

/// `{ key: value, ... }` of values as they are to be written.
pub(super) fn flow_map(entries: &[(&str, String)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

impl Node {
    fn new(key: Option<&str>, value: Value) -> Self {
        Self {
            key: key.map(str::to_owned),
            value,
            origin: Vec::new(),
            optional: false,
            comments: Vec::new(),
            raises: 0,
            refused: None,
        }
    }

    /// `value` as it is to be written.
    pub fn key(key: &str, value: impl Into<String>) -> Self {
        Self::new(Some(key), Value::Inline(value.into()))
    }

    pub fn item(value: impl Into<String>) -> Self {
        Self::new(None, Value::Inline(value.into()))
    }

    pub fn section(key: &str, nodes: Vec<Node>) -> Self {
        Self::new(Some(key), Value::Section(nodes))
    }

    pub fn list(key: &str, items: Vec<Node>) -> Self {
        Self::new(Some(key), Value::List(items))
    }

    pub fn priority(base: u16) -> Self {
        Self::new(Some("priority"), Value::Priority(base))
    }

    pub fn from(mut self, origin: impl IntoIterator<Item = Place>) -> Self {
        self.origin.extend(origin);
        self
    }

    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comments.push(comment.into());
        self
    }

    pub fn raising(mut self, raises: u16) -> Self {
        self.raises = raises;
        self
    }

    /// Whether it is the value of this key.
    pub fn is(&self, key: &str) -> bool {
        self.key.as_deref() == Some(key)
    }

    pub fn children(&self) -> &[Node] {
        match &self.value {
            Value::Section(nodes) | Value::List(nodes) => nodes,
            Value::Inline(_) | Value::Priority(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Node] {
        match &mut self.value {
            Value::Section(nodes) | Value::List(nodes) => nodes,
            Value::Inline(_) | Value::Priority(_) => &mut [],
        }
    }

    fn kept(&self) -> impl Iterator<Item = (usize, &Node)> {
        let children = self.children().iter().enumerate();
        children.filter(|(_, node)| node.refused.is_none())
    }

    /// Of all below it that is kept.
    fn raised(&self) -> u16 {
        let children = self.kept().map(|(_, node)| node.raised());
        children.fold(self.raises, u16::saturating_add)
    }

    /// Whether nothing is left of an optional section or list.
    fn is_hollow(&self) -> bool {
        let filled = matches!(self.value, Value::Section(_) | Value::List(_));
        self.optional && filled && self.kept().next().is_none()
    }
}

/// Writes what is kept.
pub(super) fn write(nodes: &[Node]) -> Written {
    let mut written = Written {
        text: String::new(),
        owners: Vec::new(),
    };
    for (index, node) in nodes.iter().enumerate() {
        if node.refused.is_none() && !node.is_hollow() {
            if index > 0 {
                written.line(0, "", None);
            }
            written.node(node, 0, &vec![index], 0);
        }
    }
    written
}

impl Written {
    fn line(&mut self, depth: usize, text: &str, owner: Option<&Path>) {
        if !text.is_empty() {
            self.text.extend(std::iter::repeat_n(' ', depth));
            self.text.push_str(text);
        }
        self.text.push('\n');
        self.owners.push(owner.cloned());
    }

    /// `raised`: by how much the priority in the same section is higher.
    fn node(&mut self, node: &Node, depth: usize, path: &Path, raised: u16) {
        for comment in &node.comments {
            self.line(depth, &format!("# {comment}"), None);
        }
        let head = match &node.key {
            Some(key) => format!("{}:", scalar(key)),
            None => "-".to_owned(),
        };
        match &node.value {
            Value::Inline(value) => self.line(depth, &format!("{head} {value}"), Some(path)),
            Value::Priority(base) => {
                let priority = base.saturating_add(raised).min(254.max(*base));
                self.line(depth, &format!("{head} {priority}"), Some(path));
            }
            Value::Section(nodes) | Value::List(nodes) => {
                let list = matches!(node.value, Value::List(_));
                if node.kept().next().is_none() {
                    let empty = if list { "[]" } else { "{}" };
                    return self.line(depth, &format!("{head} {empty}"), Some(path));
                }
                self.line(depth, &head, Some(path));
                let raised = node.raised();
                for (index, child) in node.kept() {
                    if child.is_hollow() {
                        continue;
                    }
                    let mut path = path.clone();
                    path.push(index);
                    // A section of sections is easier to read with air in it.
                    let airy = |node: Option<&Node>| {
                        node.is_some_and(|node| matches!(node.value, Value::Section(_)))
                    };
                    if depth == 0 && index > 0 && airy(nodes.get(index)) {
                        self.line(0, "", None);
                    }
                    self.node(child, depth + 2, &path, raised);
                }
            }
        }
    }
}

/// Leaves out whatever is at `path`, or the smallest thing around it that can
/// be left out. False when nothing can.
pub(super) fn refuse(nodes: &mut [Node], path: &[usize], why: &str) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    let Some(node) = nodes.get_mut(*first) else {
        return false;
    };
    if refuse(node.children_mut(), rest, why) {
        return true;
    }
    if node.optional {
        node.refused.get_or_insert_with(|| why.to_owned());
    }
    node.optional
}
