//! Every key with what it means: one table for the JSON Schema, the reference
//! in `docs/configuration.md` and the manual page. A key that the reader knows
//! (`keys`) and that has no row here, or the other way round, fails a test.

use serde_json::{Map, Value, json};

use super::keys::{self, Keys};

mod parts;
mod rows_of_checks;
mod rows_of_host;
mod rows_of_instance;

/// Where the packages put it.
pub const INSTALLED: &str = "/usr/share/vipward/schema.json";
/// Of a host's own instance, so the same on all nodes.
const NOT_OVERLAID: [&str; 3] = ["vrid", "family", "nodes"];
/// As a default: there is none.
pub const REQUIRED: &str = "required";
/// As the default of what makes a check.
const KIND: &str = "one kind is required";

/// The keys of one kind of section.
pub struct Section {
    /// As in `$defs`: "instance".
    pub name: &'static str,
    /// "an instance".
    pub within: &'static str,
    pub rows: Vec<Row>,
    known: &'static Keys,
}

/// One key.
pub struct Row {
    pub key: &'static str,
    /// What may be written and what it does, as Markdown.
    pub values: &'static str,
    /// As Markdown; "required" when there is none.
    pub default: &'static str,
    schema: Value,
}

fn row(key: &'static str, schema: Value, default: &'static str, values: &'static str) -> Row {
    Row {
        key,
        values,
        default,
        schema,
    }
}

impl Row {
    /// For editors, which know no tables and no links.
    fn property(&self) -> Value {
        let mut schema = self.schema.clone();
        if let Value::Object(map) = &mut schema {
            map.insert("description".to_owned(), plain(self.values).into());
            if let Some(default) = self.json_default() {
                map.insert("default".to_owned(), default);
            }
        }
        schema
    }

    /// A default that is a value and no description of one.
    fn json_default(&self) -> Option<Value> {
        let inside = self
            .default
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix('`'));
        let text = inside.filter(|text| !text.contains('`'));
        let number = self.default.parse::<u32>().is_ok().then_some(self.default);
        serde_yaml::from_str(text.or(number)?).ok()
    }
}

impl Section {
    fn new(name: &'static str, known: &'static Keys, rows: Vec<Row>) -> Self {
        Self {
            name,
            within: known.within,
            rows,
            known,
        }
    }

    fn object(&self, without: &[&str]) -> Map<String, Value> {
        let keys = self.known.known.iter().filter(|key| !without.contains(key));
        let property = |key: &&str| {
            let row = self.rows.iter().find(|row| row.key == *key);
            let schema = row.map_or(Value::Bool(true), Row::property);
            ((*key).to_owned(), schema)
        };
        let properties: Map<String, Value> = keys.map(property).collect();
        let mut object = Map::new();
        object.insert("type".to_owned(), "object".into());
        object.insert("properties".to_owned(), properties.into());
        object.insert("additionalProperties".to_owned(), false.into());
        object
    }

    fn required(&self) -> Vec<&'static str> {
        let required = self.rows.iter().filter(|row| row.default == REQUIRED);
        required.map(|row| row.key).collect()
    }

    fn schema(&self) -> Value {
        let mut object = self.object(&[]);
        let required = self.required();
        match self.name {
            "instance" => {
                object.insert("if".to_owned(), json!({ "not": { "required": ["nodes"] } }));
                object.insert("then".to_owned(), json!({ "required": required }));
                object.insert("required".to_owned(), json!(["vrid"]));
            }
            "check" => {
                // More than one may be a fault, or a kind and its option.
                let kinds = self.rows.iter().filter(|row| row.default == KIND);
                let kinds: Vec<Value> = kinds.map(|row| json!({ "required": [row.key] })).collect();
                object.insert("anyOf".to_owned(), kinds.into());
            }
            _ if required.is_empty() => {}
            _ => {
                object.insert("required".to_owned(), json!(required));
            }
        }
        object.into()
    }

    /// A table in Markdown.
    pub fn table(&self) -> String {
        let mut table = "| key | values | default |\n|---|---|---|\n".to_owned();
        for row in &self.rows {
            let (key, values, default) = (row.key, row.values, row.default);
            table += &format!("| `{key}` | {values} | {default} |\n");
        }
        table
    }
}

/// All of them, the top level first.
pub fn sections() -> Vec<Section> {
    vec![
        Section::new("top", &keys::TOP, rows_of_host::top()),
        Section::new("instance", &keys::INSTANCE, rows_of_instance::instance()),
        Section::new("address", &keys::ADDRESS, rows_of_instance::address()),
        Section::new("route", &keys::ROUTE, rows_of_instance::route()),
        Section::new("rule", &keys::RULE, rows_of_instance::rule()),
        Section::new("announce", &keys::ANNOUNCE, rows_of_instance::announce()),
        Section::new("auth", &keys::AUTH, rows_of_instance::auth()),
        Section::new("check", &keys::CHECK, rows_of_checks::check()),
        Section::new("use", &keys::USE, rows_of_checks::listed()),
        Section::new("hooks", &keys::HOOKS, rows_of_checks::hooks()),
        Section::new("hook", &keys::HOOK, rows_of_checks::hook()),
        Section::new("group", &keys::GROUP, rows_of_checks::group()),
        Section::new(
            "group_hooks",
            &keys::GROUP_HOOKS,
            rows_of_checks::group_hooks(),
        ),
        Section::new("cluster", &keys::CLUSTER, rows_of_host::cluster()),
        Section::new("control", &keys::CONTROL, rows_of_host::control()),
        Section::new("metrics", &keys::METRICS, rows_of_host::metrics()),
        Section::new("log", &keys::LOG, rows_of_host::log()),
    ]
}

/// The JSON Schema (draft 2020-12) of a configuration file. What it refuses
/// the program refuses too; what several keys mean together only that knows.
pub fn document() -> Value {
    let mut definitions = Map::new();
    let mut whole = Map::new();
    whole.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    whole.insert("title".to_owned(), "vipward configuration".into());
    for section in sections() {
        match section.name {
            "top" => whole.extend(section.object(&[])),
            name => {
                definitions.insert(name.to_owned(), section.schema());
            }
        }
        if section.name == "instance" {
            let overlay = section.object(&NOT_OVERLAID);
            definitions.insert("overlay".to_owned(), overlay.into());
        }
    }
    for (name, shape) in parts::shared() {
        definitions.insert(name.to_owned(), shape);
    }
    whole.insert("$defs".to_owned(), definitions.into());
    whole.into()
}

/// Markdown without its links, and without what only sends readers to them.
pub fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let linked = link.split_once("](");
        let target = linked.and_then(|(text, target)| Some((text, target.split_once(')')?.1)));
        match target.filter(|(text, _)| !text.contains([']', '['])) {
            Some((text, after)) => {
                let alone = [", see ", "; see "]
                    .iter()
                    .find_map(|see| before.strip_suffix(see));
                match alone {
                    Some(before) => out.push_str(before),
                    None => out.extend([before, text]),
                }
                rest = after;
            }
            None => {
                out.extend([before, "["]);
                rest = link;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_knows_is_described_and_nothing_else() {
        let sections = sections();
        for section in &sections {
            let described: Vec<&str> = section.rows.iter().map(|row| row.key).collect();
            for key in section.known.known {
                assert!(
                    described.contains(key),
                    "`{key}` of {} has no row in src/config/schema/",
                    section.within
                );
            }
            for key in &described {
                assert!(
                    section.known.known.contains(key),
                    "{key} of {}",
                    section.within
                );
            }
            assert_eq!(
                described.len(),
                section.known.known.len(),
                "{}",
                section.within
            );
        }
        assert_eq!(sections.len(), keys::SECTIONS.len());
    }

    #[test]
    fn no_section_takes_other_keys() {
        fn walk(value: &Value, path: &str, seen: &mut usize) {
            if let Some(map) = value.as_object() {
                if map.get("type") == Some(&json!("object")) {
                    assert_eq!(
                        map.get("additionalProperties"),
                        Some(&json!(false)),
                        "{path}"
                    );
                    *seen += 1;
                }
                for (key, value) in map {
                    walk(value, &format!("{path}/{key}"), seen);
                }
            }
        }
        let mut seen = 0;
        walk(&document(), "", &mut seen);
        assert!(seen > 17, "{seen}");
    }

    #[test]
    fn links_are_left_out_and_lists_stay() {
        for (markdown, text) in [
            ("x, see [below](#x), or `[a, b]`", "x, or `[a, b]`"),
            ("x; see [below](#x)", "x"),
            ("`[PATH, ...]`", "`[PATH, ...]`"),
            ("[a](b) [c](d)", "a c"),
            ("a ] b [", "a ] b ["),
        ] {
            assert_eq!(plain(markdown), text);
        }
    }

    /// `UPDATE_DOCS=1 cargo test --lib the_reference` writes it anew.
    #[test]
    fn the_reference_has_these_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut current = text.clone();
        for section in sections() {
            let begin = format!("<!-- keys: {} -->\n\n", section.name);
            let (before, rest) = current
                .split_once(&begin)
                .unwrap_or_else(|| panic!("docs/configuration.md lacks {begin:?}"));
            let (_, after) = rest.split_once("\n<!-- end -->").expect("its end");
            current = format!("{before}{begin}{}\n<!-- end -->{after}", section.table());
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &current).unwrap();
            return;
        }
        for (line, (is, should)) in text.lines().zip(current.lines()).enumerate() {
            assert_eq!(is, should, "docs/configuration.md:{}", line + 1);
        }
        assert_eq!(text.len(), current.len());
    }
}
