//! Routes and rules in the effective configuration.

use serde::Serialize;

use crate::agent::routing::{
    RouteSettings, RuleSettings, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, table_name,
};

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
pub(in crate::config) struct EffectiveRoute {
    /// The default route by its network, which tells the family.
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    interface: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    table: EffectiveTable,
    metric: u32,
    /// Left out where it cannot be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    onlink: Option<bool>,
    required: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
pub(in crate::config) struct EffectiveRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iif: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oif: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fwmark: Option<u32>,
    table: EffectiveTable,
    priority: u32,
    required: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
#[serde(untagged)]
enum EffectiveTable {
    Number(u32),
    Name(String),
}

impl EffectiveTable {
    fn new(table: u32) -> Self {
        match table {
            TABLE_MAIN | TABLE_LOCAL | TABLE_DEFAULT => EffectiveTable::Name(table_name(table)),
            other => EffectiveTable::Number(other),
        }
    }
}

impl EffectiveRoute {
    pub fn new(settings: &RouteSettings) -> Self {
        let route = &settings.route;
        Self {
            to: route.to.to_string(),
            via: route.via.map(|via| via.to_string()),
            interface: route.interface.to_string(),
            source: route.source.map(|source| source.to_string()),
            table: EffectiveTable::new(route.table),
            metric: route.metric,
            onlink: route.via.map(|_| route.onlink),
            required: settings.required,
        }
    }
}

impl EffectiveRule {
    pub fn new(settings: &RuleSettings) -> Self {
        let rule = &settings.rule;
        Self {
            from: rule.from.map(|from| from.to_string()),
            to: rule.to.map(|to| to.to_string()),
            iif: rule.iif.map(|iif| iif.to_string()),
            oif: rule.oif.map(|oif| oif.to_string()),
            fwmark: rule.fwmark,
            table: EffectiveTable::new(rule.table),
            priority: rule.priority,
            required: settings.required,
        }
    }
}
