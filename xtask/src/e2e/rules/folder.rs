//! What the example's folder has: objects, and the lab's hosts outside.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    e2e::{example, probe::Transport},
    paths,
};

const FOLDER: &str = "deploy/examples/hybrid-cloud/zones";

/// A host outside, as the lab has it.
#[derive(Debug, Deserialize)]
pub struct Host {
    /// Name.
    pub name: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// What it serves.
    #[serde(default)]
    serves: Vec<Served>,
}

#[derive(Debug, Deserialize)]
struct Served {
    protocol: Transport,
    port: u16,
}

impl Host {
    /// Ports that it serves.
    pub fn ports(&self) -> impl Iterator<Item = (Transport, u16)> {
        self.serves.iter().map(|it| (it.protocol, it.port))
    }
}

/// The lab's hosts outside.
pub fn hosts() -> Result<Vec<Host>> {
    #[derive(Deserialize)]
    struct Lab {
        outside: Vec<Host>,
    }
    let file = paths::root().join(FOLDER).join("lab.yaml");
    let text = fs::read_to_string(&file)?;
    let lab: Lab =
        serde_saphyr::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(lab.outside)
}

/// The example's own objects.
pub fn documents() -> Result<Vec<Value>> {
    example::read(&paths::root().join(FOLDER).join("manifests"))
}
