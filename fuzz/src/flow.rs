//! Flows as the pod sees them, and what is remembered of them.

use std::net::IpAddr;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the pod.
    Out,
    /// To the pod.
    In,
}

impl Way {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}

/// How a packet comes to the hook.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The way.
    pub way: Way,
    /// The device that it came by; 0 is the node itself.
    pub ingress: u32,
    /// Its mark names the pod as its sender.
    pub marked: bool,
    /// It has any of our marks.
    pub stamped: bool,
}

/// A flow, from the pod's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) protocol: u8,
}

/// What has passed of a flow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    pub(crate) out: bool,
    pub(crate) into: bool,
    /// With a bare SYN or a question.
    pub(crate) begun_out: bool,
    pub(crate) begun_in: bool,
    /// It was taken over under way: who opened it is not known.
    pub(crate) adopted: bool,
    /// The pod's own, by way of the node.
    pub(crate) itself: bool,
    /// The node's own.
    pub(crate) own_node: bool,
    /// When the last packet passed.
    pub(crate) last: u32,
    /// The policy that saw it begin.
    pub(crate) epoch: u32,
    /// The first policy that ever saw it: that it was revoked is known for longer than the flow itself.
    pub(crate) eldest: u32,
}

impl Past {
    pub(crate) fn went(&self, way: Way) -> bool {
        match way {
            Way::Out => self.out,
            Way::In => self.into,
        }
    }

    pub(crate) fn opened(&self, way: Way) -> bool {
        match way {
            Way::Out => self.begun_out,
            Way::In => self.begun_in,
        }
    }
}

impl Flow {
    /// The flow of a packet that goes this way.
    pub(crate) fn of(
        way: Way,
        source: IpAddr,
        destination: IpAddr,
        ports: (u16, u16),
        protocol: u8,
    ) -> Self {
        match way {
            Way::Out => Self {
                local: source,
                remote: destination,
                local_port: ports.0,
                remote_port: ports.1,
                protocol,
            },
            Way::In => Self {
                local: destination,
                remote: source,
                local_port: ports.1,
                remote_port: ports.0,
                protocol,
            },
        }
    }
}
