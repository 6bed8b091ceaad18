//! Names as vipward takes them, each used once.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::values::NAME_BYTES_MAX;

#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    /// What each was called before.
    new: BTreeMap<String, String>,
    /// The next number for names that would be the same.
    numbers: BTreeMap<String, usize>,
}

impl Names {
    /// The name for what was called `old`; always the same one.
    pub fn of(&mut self, old: &str) -> String {
        if let Some(new) = self.new.get(old) {
            return new.clone();
        }
        let name = self.free(old);
        self.new.insert(old.to_owned(), name.clone());
        name
    }

    pub fn known(&self, old: &str) -> Option<&str> {
        self.new.get(old).map(String::as_str)
    }

    /// One that nobody has yet.
    pub fn free(&mut self, wished: &str) -> String {
        let fit = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            true => c,
            false => '-',
        };
        let mut name: String = wished.chars().map(fit).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.insert(0, 'x');
        }
        name.truncate(NAME_BYTES_MAX);
        let base = name.clone();
        while !self.taken.insert(name.clone()) {
            let number = self.numbers.entry(base.clone()).or_insert(1);
            *number += 1;
            let suffix = format!("-{number}");
            name = base.clone();
            name.truncate(NAME_BYTES_MAX - suffix.len());
            name.push_str(&suffix);
        }
        name
    }
}
