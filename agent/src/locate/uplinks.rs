//! The node's devices, for who knows of no pods.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Devices, machine::Machine, roles, watch::node_addresses};

/// Follows the node's devices.
pub struct Following {
    machine: Machine,
}

impl Following {
    /// Begins to listen, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub fn begin() -> anyhow::Result<Self> {
        Ok(Self {
            machine: Machine::new(&[])?,
        })
    }

    /// The devices, as they are now. Only what its kind and routes say of a device counts: no pod is known.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub async fn read(&mut self) -> anyhow::Result<Devices> {
        self.machine.read().await?;
        Ok(roles::classify(&self.machine.stack, &BTreeSet::new()))
    }

    /// The node's own addresses, as they were read.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        node_addresses(&self.machine.stack)
    }

    /// Waits until something has changed. It may be given up, and is not forgotten then.
    pub async fn changed(&mut self) {
        self.machine.changed().await;
    }
}
