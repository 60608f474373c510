//! `ringfence can`.

use std::{collections::BTreeSet, io, net::IpAddr, process::ExitCode};

use serde::Serialize;

use super::{
    endpoint::{Name, Port},
    failure::{Failure, Outcome},
    manifests, output,
    question::{Oracle, Ruling},
};
use crate::{
    args::CanArgs,
    compile::{Family, Party, resolve_service, service_at},
    model::{Protocol, Service, Snapshot},
};

/// What is printed with `-o json`.
#[derive(Serialize)]
struct Answer {
    from: String,
    to: String,
    /// The service whose address `to` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    port: String,
    allowed: bool,
    /// One for each address family and each pod behind a service.
    flows: Vec<Ruling>,
}

pub(super) fn run(args: &CanArgs) -> Outcome {
    let (from, to, port) = (
        Name::parse(&args.from)?,
        Name::parse(&args.to)?,
        Port::parse(&args.port)?,
    );
    let snapshot = manifests::load(&args.manifests)?;
    let source = match &from {
        Name::Pod(key) => {
            Name::existing_pod(key, &snapshot)?;
            Party::Pod(key.clone())
        }
        Name::Address(address) => Party::Address(*address),
        Name::Service(..) => {
            return Err(
                Failure::new("a service does not open connections, its pods do")
                    .at(args.from.clone())
                    .help("name one of its pods"),
            );
        }
    };
    let service = match (&to, &port) {
        (Name::Address(address), Port::Number(protocol, port)) => {
            service_at(&snapshot, *address, Some((*protocol, *port)))
        }
        _ => None,
    };
    let (targets, within) = match service {
        Some(service) => behind(service, &to, &port, &snapshot)?,
        None => targets(&to, &port, &snapshot)?,
    };
    let oracle = Oracle::new(&snapshot);
    manifests::warn(oracle.diagnostics());
    let mut flows = Vec::new();
    for (target, port) in targets {
        let families = oracle.families(&source, &target);
        for family in families.into_iter().filter(|it| within.has(*it)) {
            let ruling = oracle.ask(&source, &target, port, family);
            flows.push(ruling.map_err(Failure::new)?);
        }
    }
    if flows.is_empty() {
        return Err(
            Failure::new(format!("{from} and {to} have no address family in common"))
                .help("give both an address of the same family, or ask about addresses"),
        );
    }
    let allowed = flows.iter().all(Ruling::is_allowed);
    let answer = Answer {
        from: from.to_string(),
        to: to.to_string(),
        service: service.map(|it| format!("svc/{}/{}", it.namespace, it.name)),
        port: port.to_string(),
        allowed,
        flows,
    };
    output::print(&args.output, "Answer", &answer, |out| write(out, &answer))?;
    Ok(if allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Who is asked about, and on which port.
type Target = (Party, Option<(Protocol, u16)>);

/// The families that a destination can be reached in.
enum Within {
    /// Those of everybody behind it.
    Any,
    /// Only these: a service leads in no other family than its own addresses have.
    These(BTreeSet<Family>),
}

impl Within {
    fn has(&self, family: Option<Family>) -> bool {
        match (self, family) {
            (Self::These(these), Some(family)) => these.contains(&family),
            _ => true,
        }
    }
}

/// Who is meant in the end: of a service all pods behind it.
fn targets(to: &Name, port: &Port, snapshot: &Snapshot) -> Result<(Vec<Target>, Within), Failure> {
    let of_one = |party: Party| match port {
        Port::Number(protocol, port) => Ok((vec![(party, Some((*protocol, *port)))], Within::Any)),
        Port::Icmp => Ok((vec![(party, None)], Within::Any)),
        Port::Name(name) => Err(Failure::new("only ports of a service go by name")
            .at(name.clone())
            .help("give the number, as in 443 or 53/udp")),
    };
    match to {
        Name::Pod(key) => {
            Name::existing_pod(key, snapshot)?;
            of_one(Party::Pod(key.clone()))
        }
        Name::Address(address) => of_one(Party::Address(*address)),
        Name::Service(namespace, name) => {
            let service = Name::existing_service(namespace, name, snapshot)?;
            behind(service, to, port, snapshot)
        }
    }
}

/// The pods behind a service, in the family of the address by which it was named, or those of all its addresses.
fn behind(
    service: &Service,
    to: &Name,
    port: &Port,
    snapshot: &Snapshot,
) -> Result<(Vec<Target>, Within), Failure> {
    let Service {
        namespace, name, ..
    } = service;
    let number = match port {
        Port::Number(protocol, port) => (*protocol, *port),
        Port::Name(called) => service
            .ports
            .iter()
            .find(|port| port.name.as_ref() == Some(called))
            .map(|port| (port.protocol, port.port))
            .ok_or_else(|| {
                Failure::new(format!(
                    "service {namespace}/{name} has no port called {called}"
                ))
            })?,
        Port::Icmp => {
            return Err(Failure::new("a service's address carries only its ports")
                .at(port.to_string())
                .help("ask about one of its pods"));
        }
    };
    let pods = resolve_service(snapshot, namespace, name, number).map_err(Failure::new)?;
    let pods = pods
        .into_iter()
        .map(|(key, port)| (Party::Pod(key), Some((number.0, port))));
    let family = |address: &IpAddr| Family::of(address.to_canonical());
    let within = match to {
        Name::Address(address) => Within::These([family(address)].into()),
        // A headless service leads to whatever addresses its pods have.
        _ if service.addresses.is_empty() => Within::Any,
        _ => Within::These(service.addresses.iter().map(family).collect()),
    };
    Ok((pods.collect(), within))
}

fn write(out: &mut dyn io::Write, answer: &Answer) -> io::Result<()> {
    let verdict = if answer.allowed { "ALLOWED" } else { "DENIED" };
    let allowed = answer.flows.iter().filter(|flow| flow.is_allowed()).count();
    let part = match answer.flows.len() {
        total if allowed != 0 && allowed != total => {
            format!("  ({allowed} of {total} flows allowed)")
        }
        _ => String::new(),
    };
    let service = answer.service.iter().map(|it| format!(" ({it})"));
    writeln!(
        out,
        "{verdict}  {} -> {}{} {}{part}",
        answer.from,
        answer.to,
        service.collect::<String>(),
        answer.port
    )?;
    // Families and pods that fare alike are told once.
    let mut told: Vec<(String, String)> = Vec::new();
    for flow in &answer.flows {
        let mut text = String::new();
        if let Some(metadata) = &flow.metadata {
            text += &format!("  metadata  {metadata}\n");
        }
        text += &format!(
            "  egress    {}\n  ingress   {}\n",
            flow.egress, flow.ingress
        );
        let to = if flow.to == answer.to && flow.port == answer.port {
            String::new()
        } else {
            format!("{} {}", flow.to, flow.port)
        };
        let title = [flow.family.clone().unwrap_or_default(), to]
            .into_iter()
            .filter(|part| !part.is_empty());
        let title = title.collect::<Vec<_>>().join(" ");
        match told.iter_mut().find(|(_, known)| *known == text) {
            Some((titles, _)) => *titles += &format!(", {title}"),
            None => told.push((title, text)),
        }
    }
    let one = told.len() == 1;
    for (title, text) in told {
        if !one || !matches!(answer.flows.as_slice(), [flow] if flow.to == answer.to) {
            writeln!(out, " {title}")?;
        }
        write!(out, "{text}")?;
    }
    Ok(())
}
