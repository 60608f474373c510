//! Pods from manifests.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1 as core;

use crate::model::{ContainerPort, Place, Pod, PodKey, Snapshot};

/// Reads the pods in a directory's YAML files.
pub(super) fn read(directory: &Path) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", directory.display()))?
            .path();
        if path
            .extension()
            .is_none_or(|extension| extension != "yaml" && extension != "yml")
        {
            continue;
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{}: not YAML", path.display()))?;
        for document in documents
            .into_iter()
            .filter(|document| document["kind"] == "Pod")
        {
            let pod: core::Pod = serde_json::from_value(document)
                .with_context(|| format!("{}: not a Pod", path.display()))?;
            let pod = convert(pod).with_context(|| format!("{}: Pod", path.display()))?;
            snapshot.pods.insert(pod.key.clone(), pod);
        }
    }
    Ok(snapshot)
}

fn convert(pod: core::Pod) -> Result<Pod> {
    let netns = pod
        .metadata
        .annotations
        .unwrap_or_default()
        .remove("ringfence.dev/netns");
    let spec = pod.spec.unwrap_or_default();
    let mut addresses = Vec::new();
    for ip in pod.status.unwrap_or_default().pod_ips.unwrap_or_default() {
        addresses.push(
            ip.ip
                .parse::<IpAddr>()
                .with_context(|| format!("status.podIPs: {}", ip.ip))?,
        );
    }
    let mut ports = Vec::new();
    for port in spec
        .containers
        .into_iter()
        .flat_map(|container| container.ports.unwrap_or_default())
    {
        let number = port.container_port.try_into().context("containerPort")?;
        ports.push(ContainerPort {
            name: port.name,
            port: number,
            protocol: Default::default(),
            host_port: None,
        });
    }
    Ok(Pod {
        key: PodKey {
            namespace: pod
                .metadata
                .namespace
                .unwrap_or_else(|| "default".to_owned()),
            name: pod.metadata.name.unwrap_or_default(),
        },
        addresses,
        ports,
        place: netns.map(Place::Netns),
        host_network: spec.host_network.unwrap_or_default(),
        ..Pod::default()
    })
}
