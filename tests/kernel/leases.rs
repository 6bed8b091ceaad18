//! Leases and their renewal.

use super::Test;

pub fn tests() -> Vec<Test> {
    vec![]
}
