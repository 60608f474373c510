//! What the fuzz targets share: a world small enough to be understood at a glance, and a naive reading of packets.
//!
//! Nothing here uses the project's parser, tables or judge to decide anything: it is what they are held against.

mod address;
pub mod flow;
pub mod input;
pub mod naive;
pub mod oracle;
pub mod tables;
pub mod world;
