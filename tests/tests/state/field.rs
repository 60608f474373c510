//! A lab and its manifests, as the tests with real sockets need them. Pod number N of a
//! [`ringfence_tests::lab::small`] lab has the label `app` with its name, unless said otherwise.

use std::net::IpAddr;

use ringfence_agent::lab::{
    Actor, Lab,
    wire::{Stream, StreamReport, Transport},
};
pub(super) use ringfence_tests::reach::{fares, is_closed, reaches};
use ringfence_tests::{
    lab::{addresses, eventually},
    reach::stands_still,
};

/// A pod of the lab.
pub(super) fn pod(name: &str) -> Actor {
    Actor::pod("t", name)
}

/// The namespace.
pub(super) const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n";

/// The namespace and pods, in the order of their numbers.
pub(super) fn world(pods: &[&str]) -> String {
    let pods = pods.iter().zip(1..);
    NAMESPACE.to_owned()
        + &pods
            .map(|(name, number)| manifest(name, name, number))
            .collect::<String>()
}

/// A running pod with this label, in the lab's network namespace of its name.
pub(super) fn manifest(name: &str, app: &str, number: u8) -> String {
    let [v4, v6] = addresses(number);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: t\n  labels: {{ app: {app} }}\n  \
         annotations: {{ ringfence.dev/netns: {name} }}\n\
         status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
    )
}

/// A policy for the pods with this label: TCP and UDP from these peers (a flow sequence) to this port, and nothing else
/// comes in; what goes out is free if `egress` says so, else nothing does.
pub(super) fn lets_in(app: &str, peers: &str, port: u16, egress: bool) -> String {
    let types = if egress {
        "[Ingress]"
    } else {
        "[Ingress, Egress]"
    };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: {app}, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: {app} }} }}\n  policyTypes: {types}\n  ingress:\n  - from: [ {peers} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n"
    )
}

/// The peer that has one of these labels.
pub(super) fn labelled(apps: &[&str]) -> String {
    let list = apps.join(", ");
    format!(
        "{{ podSelector: {{ matchExpressions: [ {{ key: app, operator: In, values: [ {list} ] }} ] }} }}"
    )
}

/// The peer that is this address.
pub(super) fn block(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{{ ipBlock: {{ cidr: \"{address}/{length}\" }} }}")
}

/// Starts numbered messages from a pod, named by its ends.
pub(super) fn stream(lab: &Lab, from: &str, to: IpAddr, port: u16, protocol: Transport) -> Flow {
    stream_from(lab, &pod(from), to, port, protocol)
}

/// The same for anybody.
pub(super) fn stream_from(
    lab: &Lab,
    from: &Actor,
    to: IpAddr,
    port: u16,
    protocol: Transport,
) -> Flow {
    let flow = Flow {
        id: format!("{from} {to} {port} {protocol:?}"),
        from: from.clone(),
    };
    let stream = Stream {
        id: flow.id.clone(),
        protocol,
        from: None,
        to,
        port,
        interval_ms: 5,
    };
    lab.stream(&flow.from, stream).expect("the lab obeys");
    flow.goes_on(lab);
    flow
}

/// Numbered messages that are under way.
pub(super) struct Flow {
    id: String,
    from: Actor,
}

impl Flow {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.id
    }

    fn report(&self, lab: &Lab) -> StreamReport {
        lab.stream_report(&self.from, &self.id)
            .expect("the lab obeys")
    }

    /// Waits until it has had more answers.
    pub(super) fn goes_on(&self, lab: &Lab) {
        let wanted = self.report(lab).answered + 10;
        eventually(&self.id, || {
            (self.report(lab).answered >= wanted).then_some(())
        });
    }

    /// Waits until it gets no answers any more.
    pub(super) fn stands_still(&self, lab: &Lab) {
        stands_still(lab, &self.id, &self.from);
    }

    /// Ends it.
    ///
    /// # Panics
    ///
    /// If any of its messages was lost.
    pub(super) fn has_lost_nothing(&self, lab: &Lab) {
        let report = lab
            .stream_stop(&self.from, &self.id)
            .expect("the lab obeys");
        assert_eq!(
            (report.lost, report.error.as_deref()),
            (0, None),
            "{}: {report:?}",
            self.id
        );
    }
}
