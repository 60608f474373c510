//! The one binary: agent, command line, lab.

fn main() {}
