//! The runner that asks the kernel.

/// The runner.
#[derive(Debug)]
pub struct Kernel;
