//! `ringfence matrix`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::ExitCode,
};

use super::{
    endpoint::Port as PortName,
    failure::{Failure, Outcome},
    manifests, output,
    outside::Outside,
    question::{Oracle, Port, Ruling, port_text},
};
use crate::{
    args::{MatrixArgs, OutputArgs},
    compile::{Family, Party},
    model::{Protocol, Snapshot},
};

/// Somebody in the matrix.
struct Who {
    name: String,
    party: Party,
}

pub(super) fn run(args: &MatrixArgs) -> Outcome {
    let outside = Outside::parse(&args.outside)?;
    let ports = args
        .port
        .iter()
        .map(|text| parse_port(text))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let snapshot = manifests::load(&args.manifests)?;
    for one in &outside {
        one.check(&snapshot)?;
    }
    let everybody = everybody(&snapshot, outside);
    let columns = columns(&snapshot, &everybody, &ports);
    let oracle = Oracle::new(&snapshot);
    manifests::warn(oracle.diagnostics());
    let mut rulings = Vec::new();
    for from in &everybody {
        for (to, port) in &columns {
            // Nobody here sees what two addresses outside say to each other.
            if !matches!(
                (&from.party, &to.party),
                (Party::Address(_), Party::Address(_))
            ) {
                for family in oracle.families(&from.party, &to.party) {
                    let ruling = oracle
                        .ask(&from.party, &to.party, *port, family)
                        .map_err(Failure::new)?;
                    rulings.push(Ruling {
                        from: from.name.clone(),
                        to: to.name.clone(),
                        ..ruling
                    });
                }
            }
        }
    }
    output::print(
        &args.output,
        "Matrix",
        &output::Items { items: &rulings },
        |out| write(out, &args.output, &everybody, &columns, &rulings),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn parse_port(text: &str) -> Result<Port, Failure> {
    match PortName::parse(text)? {
        PortName::Number(protocol, port) => Ok(Some((protocol, port))),
        PortName::Icmp => Ok(None),
        PortName::Name(name) => Err(Failure::new("ports go by number here")
            .at(format!("--port {name}"))
            .help("give the number, as in 443 or 53/udp")),
    }
}

/// Pods first, then who was named.
fn everybody(snapshot: &Snapshot, outside: Vec<Outside<'_>>) -> Vec<Who> {
    let outside = outside.into_iter().map(|one| Who {
        name: one.name,
        party: Party::Address(one.address),
    });
    let pods = snapshot
        .pods
        .iter()
        .filter(|(_, pod)| pod.is_running() && !pod.host_network);
    pods.map(|(key, _)| Who {
        name: key.to_string(),
        party: Party::Pod(key.clone()),
    })
    .chain(outside)
    .collect()
}

/// Every port of every pod; or the ports that were asked for, of everybody.
fn columns<'a>(
    snapshot: &Snapshot,
    everybody: &'a [Who],
    ports: &BTreeSet<Port>,
) -> Vec<(&'a Who, Port)> {
    let of = |who: &Who| -> BTreeSet<Port> {
        if !ports.is_empty() {
            return ports.clone();
        }
        let Party::Pod(key) = &who.party else {
            return BTreeSet::new();
        };
        let ports = snapshot
            .pods
            .get(key)
            .into_iter()
            .flat_map(|pod| &*pod.ports);
        ports
            .map(|port| Some::<(Protocol, u16)>((port.protocol, port.port)))
            .collect()
    };
    // An address of each family may go by one name; then it is one column.
    let mut seen = BTreeSet::new();
    everybody
        .iter()
        .flat_map(|who| of(who).into_iter().map(move |port| (who, port)))
        .filter(|(who, port)| {
            matches!(who.party, Party::Address(_)) || seen.insert((who.name.clone(), *port))
        })
        .collect()
}

fn write(
    out: &mut dyn io::Write,
    args: &OutputArgs,
    everybody: &[Who],
    columns: &[(&Who, Port)],
    rulings: &[Ruling],
) -> io::Result<()> {
    let names = unique(everybody.iter().map(|who| who.name.clone()));
    let heads = unique(
        columns
            .iter()
            .map(|(who, port)| (who.name.clone(), port_text(*port))),
    );
    if heads.is_empty() {
        if everybody.is_empty() {
            say!("there is no running pod in the manifests");
        } else {
            say!("no pod has a port; name some with --port");
        }
        return Ok(());
    }
    let mut first = true;
    for family in [
        Some(Family::V4.to_string()),
        Some(Family::V6.to_string()),
        None,
    ] {
        let cells: BTreeMap<(&str, &str, &str), &Ruling> = rulings
            .iter()
            .filter(|ruling| ruling.family == family)
            .map(|ruling| {
                (
                    (
                        ruling.from.as_str(),
                        ruling.to.as_str(),
                        ruling.port.as_str(),
                    ),
                    ruling,
                )
            })
            .collect();
        if cells.is_empty() {
            continue;
        }
        if !first {
            writeln!(out)?;
        }
        first = false;
        let title = family.as_deref().unwrap_or("no address");
        let header = std::iter::once(format!("{title}: FROM \\ TO"));
        let header = header.chain(heads.iter().map(|(to, port)| format!("{to}\n{port}")));
        let mut table = output::table::<0>(
            &OutputArgs {
                no_headers: true,
                ..args.clone()
            },
            [],
        );
        if !args.no_headers {
            table.set_header(header);
        }
        for from in &names {
            let row = heads
                .iter()
                .map(|(to, port)| match cells.get(&(from.as_str(), to, port)) {
                    Some(ruling) if ruling.is_allowed() => "allow",
                    Some(_) => "·",
                    None => "-",
                });
            table.add_row(std::iter::once(from.as_str()).chain(row));
        }
        output::write_table(out, &mut table)?;
    }
    if !args.no_headers {
        say!(
            "allow: both ends allow it   ·: denied   -: not for Ringfence to judge, or not in this family"
        );
    }
    Ok(())
}

/// Each once, in the order in which they come.
fn unique<T: Ord + Clone>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    all.filter(|one| seen.insert(one.clone())).collect()
}
