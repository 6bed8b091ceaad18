//! Every program that may be started, by name.

use std::collections::BTreeMap;

use crate::agent::digest::fnv1a;
use crate::agent::jobs::{CheckName, HookKind, HookOwner};
pub use crate::config::work::Script;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    pub checks: BTreeMap<CheckName, Script>,
    pub hooks: BTreeMap<(HookOwner, HookKind), Script>,
}

impl Catalog {
    /// Equal where the same names stand for the same programs, for every
    /// practical purpose: FNV-1a over 64 bits, 16 hexadecimal digits.
    pub fn digest(&self) -> String {
        // Debug output quotes texts, so two catalogs cannot run into one.
        format!("{:016x}", fnv1a(format!("{self:?}").into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_digest_tells_every_difference() {
        let catalog = |name: &str, words: &[&str], user: Option<&str>, seconds| {
            let script = Script {
                command: words.iter().map(|word| (*word).to_owned()).collect(),
                user: user.map(str::to_owned),
                timeout: Duration::from_secs(seconds),
            };
            let catalog = Catalog {
                checks: [(CheckName::new(name), script)].into(),
                ..Catalog::default()
            };
            catalog.digest()
        };
        let one = catalog("a", &["/x", "y"], None, 1);
        assert_eq!(one, catalog("a", &["/x", "y"], None, 1));
        for other in [
            catalog("b", &["/x", "y"], None, 1),
            catalog("a", &["/x y"], None, 1),
            catalog("a", &["/x", "y"], Some("root"), 1),
            catalog("a", &["/x", "y"], None, 2),
            Catalog::default().digest(),
        ] {
            assert_ne!(one, other);
        }
    }
}
