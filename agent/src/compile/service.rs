//! Services: the pods and ports behind them.

use std::net::IpAddr;

use crate::model::{Pod, PodKey, Protocol, Service, ServicePort, Snapshot, TargetPort};

/// The service that has this address, of any kind, and serves this port there; without a port any that has the address.
///
/// An address's other ports lead nowhere: what is sent there is judged as it stands.
#[must_use]
pub fn service_at(
    snapshot: &Snapshot,
    address: IpAddr,
    port: Option<(Protocol, u16)>,
) -> Option<&Service> {
    let address = address.to_canonical();
    let serves = |service: &Service| match port {
        Some(port) => service
            .ports
            .iter()
            .any(|it| (it.protocol, it.port) == port),
        None => true,
    };
    snapshot.services.values().find(|service| {
        let mut addresses = service.addresses.iter();
        serves(service) && addresses.any(|own| own.to_canonical() == address)
    })
}

/// The pods behind a service's port, each with the port that it listens on; sorted.
///
/// Pods that have ended or are going get no connections of a service; those with the node's network do.
///
/// # Errors
///
/// If there is no such service or port, if it has no selector, or if nobody is behind it.
pub fn resolve_service(
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
    port: (Protocol, u16),
) -> Result<Vec<(PodKey, u16)>, String> {
    let known = |services: Vec<String>| match services.as_slice() {
        [] => "there are none in this namespace".to_owned(),
        some => format!("there are {}", some.join(", ")),
    };
    let title = format!("Service/{namespace}/{name}");
    let Some(service) = snapshot
        .services
        .get(&(namespace.to_owned(), name.to_owned()))
    else {
        let others = snapshot.services.keys().filter(|(of, _)| of == namespace);
        return Err(format!(
            "{title} does not exist: {}",
            known(others.map(|(_, it)| it.clone()).collect())
        ));
    };
    let Some(service_port) = service
        .ports
        .iter()
        .find(|it| (it.protocol, it.port) == port)
    else {
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|it| format!("{}/{}", it.port, it.protocol))
            .collect();
        return Err(format!(
            "{title} has no port {}/{}, it has {}",
            port.1,
            port.0,
            ports.join(", ")
        ));
    };
    let Some(selector) = &service.selector else {
        return Err(format!(
            "{}: {title} has no selector, its endpoints are written by somebody else: ask for a pod or an address",
            service.origin
        ));
    };
    let behind: Vec<(&PodKey, &Pod)> = snapshot
        .pods
        .iter()
        .filter(|(key, pod)| {
            key.namespace == namespace
                && pod.is_running()
                && !pod.terminating
                && selector.matches(&pod.labels)
        })
        .collect();
    let targets: Vec<(PodKey, u16)> = behind
        .iter()
        .filter_map(|(key, pod)| Some(((*key).clone(), target(pod, service_port)?)))
        .collect();
    match (behind.len(), targets.len()) {
        (0, _) => Err(format!(
            "{title} has no running pods: its selector matches none in namespace {namespace}"
        )),
        (pods, 0) => Err(format!(
            "{title} leads to a port by name that none of its {pods} pods has: \
             name the container port, or give targetPort as a number"
        )),
        _ => Ok(targets),
    }
}

/// The pod's port; the first of its name if it has several.
fn target(pod: &Pod, port: &ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => pod
            .ports
            .iter()
            .find(|it| it.protocol == port.protocol && it.name.as_ref() == Some(name))
            .map(|it| it.port),
    }
}
