//! The real agent in a lab of network namespaces: real sockets, real policies, real crashes.

mod audit;
mod bridge;
mod cells;
mod cgroups;
mod edits;
mod example;
mod first;
mod grants;
mod guard;
mod hosts;
mod instruction;
mod layers;
mod life;
mod limits;
mod masters;
mod metadata;
mod metrics;
mod mtu;
mod nri;
mod packets;
mod pods;
mod proxies;
mod roles;
mod rollback;
mod sdk;
mod services;
mod upgrade;
mod vanish;

use std::net::IpAddr;

use ringfence_agent::lab::{
    Actor, Lab, Outcome,
    wire::{Stream, StreamReport, Transport},
};
use ringfence_tests::{
    lab::{addresses, eventually},
    reach::{self, PATIENT, SHORT, stands_still},
};

fn pod(name: &str) -> Actor {
    Actor::pod("t", name)
}

/// Manifests of the pods of a [`ringfence_tests::lab::small`] lab, each with label `app` = its name.
fn world(pods: &[&str]) -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned();
    for (name, number) in pods.iter().zip(1..) {
        text += &pod_manifest(name, name, number, "");
    }
    text
}

/// A pod with the addresses of number N; `more` goes into its annotations.
fn pod_manifest(name: &str, app: &str, number: u8, more: &str) -> String {
    let [v4, v6] = addresses(number);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: t\n  labels: {{ app: {app} }}\n  \
         annotations: {{ ringfence.dev/netns: {name}{more} }}\n\
         spec: {{ nodeName: w1, containers: [] }}\n\
         status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
    )
}

/// A policy that lets `from` in to `to` on TCP and UDP `port`, and nobody else.
fn lets_in(to: &str, from: &str, port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: {to}, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: {to} }} }}\n  ingress:\n  - from: [ {{ podSelector: {{ matchLabels: {{ app: {from} }} }} }} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n"
    )
}

/// What becomes of one attempt that should be answered.
fn patient_attempt(lab: &Lab, from: &Actor, to: IpAddr, port: u16, protocol: Transport) -> Outcome {
    lab.probe(from, to, port, protocol, PATIENT)
        .expect("the lab obeys")
}

/// What becomes of one attempt that should not be.
fn attempt(lab: &Lab, from: &Actor, to: IpAddr, port: u16, protocol: Transport) -> Outcome {
    lab.probe(from, to, port, protocol, SHORT)
        .expect("the lab obeys")
}

/// True if both families and both transports get through; false if none does, for long.
///
/// # Panics
///
/// If some do and some do not.
fn reaches(lab: &Lab, from: &Actor, number: u8, port: u16) -> bool {
    reach::reaches(lab, from, &addresses(number), port)
}

/// True if neither family gets through by either transport, for a moment.
fn is_closed(lab: &Lab, from: &Actor, number: u8, port: u16) -> bool {
    reach::is_closed(lab, from, &addresses(number), port)
}

/// Starts numbered messages from a pod.
fn stream(lab: &Lab, id: &str, from: &Actor, to: IpAddr, port: u16, protocol: Transport) {
    let stream = Stream {
        id: id.to_owned(),
        protocol,
        from: None,
        to,
        port,
        interval_ms: 5,
    };
    lab.stream(from, stream).expect("the lab obeys");
}

fn report(lab: &Lab, id: &str, from: &Actor) -> StreamReport {
    lab.stream_report(from, id).expect("the lab obeys")
}

/// Waits until the stream has had this many more answers.
fn flows_on(lab: &Lab, id: &str, from: &Actor, more: u64) {
    let wanted = report(lab, id, from).answered + more;
    eventually("the stream flows", || {
        (report(lab, id, from).answered >= wanted).then_some(())
    });
}
