//! End to end: the real binary in real network namespaces.

fn main() {}
