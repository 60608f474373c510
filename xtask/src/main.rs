//! Builds, tests and demonstrates Ringfence.

fn main() {}
