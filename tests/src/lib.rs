//! Harness of the tests that need a kernel.

pub mod agent;
pub mod apiserver;
pub mod attacks;
pub mod chart;
pub mod conformance;
pub mod desk;
pub mod kubelet;
pub mod lab;
pub mod node;
pub mod packet;
pub mod paged;
pub mod reach;
pub mod refused;
pub mod runtime;
pub mod sandbox;
