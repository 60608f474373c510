//! The only place with aya and `unsafe`: loads, pins, attaches, writes maps.

mod view;

pub use view::{
    Applied, ConnectionView, Counters, EndpointView, EventView, Kernel, KernelError, ObjectView,
};
