//! `ringfence metadata`.

mod audit;
mod grants;
mod guard;
mod kube2iam;
mod roles;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use self::roles::Broker;
use super::{
    client::Client,
    cluster,
    failure::{Failure, Outcome},
    manifests, output, question,
};
use crate::{
    admin::metadata::{Metadata, MetadataGrant, MetadataPod, MetadataTried, through},
    args::{
        Manifests, MetadataBroker, MetadataReportArgs, MetadataSource, MetadataVerb, OutputArgs,
        RoleFormat, Switch, WhoCanArgs,
    },
    compile,
};

pub(super) fn run(verb: &MetadataVerb) -> Outcome {
    match verb {
        MetadataVerb::WhoCan(args) => who_can(args),
        MetadataVerb::Report(args) => match (args.from, args.namespace_restriction_format) {
            (Some(MetadataBroker::Kube2iam), format) => {
                let format = format.unwrap_or(RoleFormat::Glob);
                kube2iam::run(args, Broker::Kube2iam(format))
            }
            (_, Some(_)) => Err(Failure::new("only kube2iam reads roles in two ways")
                .at("--namespace-restriction-format")
                .help("leave it out, or take --from kube2iam")),
            (Some(MetadataBroker::Kiam), None) => kube2iam::run(args, Broker::Kiam),
            (Some(MetadataBroker::Audit), None) => audit::run(args),
            (None, None) => report(args),
        },
        MetadataVerb::Guard(args) => guard::run(args),
    }
}

/// What is asked says who may reach what; the code is 2 if not everybody answered.
fn ask(source: &MetadataSource) -> Result<(Metadata, ExitCode), Failure> {
    if !source.files.is_empty() {
        let snapshot = manifests::load(&files(source))?;
        let options = question::options();
        let (_, diagnostics) = compile::compile(&compile::as_if_local(&snapshot), &options);
        manifests::warn(&diagnostics);
        let denied = compile::Metadata::of(&snapshot);
        let metadata = Metadata::of(&snapshot, &denied, &options, |_| true);
        return Ok((metadata, ExitCode::SUCCESS));
    }
    if cluster::is_meant(&source.cluster) {
        return cluster::metadata(&source.cluster);
    }
    let metadata = Client::new(&source.read.at)?.get("/v1/metadata")?;
    Ok((metadata, ExitCode::SUCCESS))
}

fn files(source: &MetadataSource) -> Manifests {
    Manifests {
        files: source.files.clone(),
        ignore_other_kinds: source.ignore_other_kinds,
        network_policy: Switch::On,
    }
}

/// A pod that can, by one grant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Can<'a> {
    pod: &'a str,
    host_network: bool,
    /// What it reaches: the endpoint, or the proxy that answers for it.
    reaches: &'a str,
    by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<&'a str>,
}

/// Who can, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct WhoCan<'a> {
    endpoint: &'a str,
    pods: Vec<Can<'a>>,
}

fn who_can(args: &WhoCanArgs) -> Outcome {
    let (metadata, code) = ask(&args.source)?;
    let Some(endpoint) = metadata.endpoint(&args.endpoint) else {
        let known = metadata.endpoints.iter().map(|it| &*it.name);
        return Err(no_endpoint(
            &args.endpoint,
            known,
            ", or one of their addresses",
        ));
    };
    let mut pods = Vec::new();
    for pod in &metadata.pods {
        let mut names = through(pod, &metadata, &endpoint.name);
        names.insert(&endpoint.name);
        for reaches in names {
            let grants = pod.grants.iter();
            let grants = grants.filter(|it| it.endpoints.iter().any(|name| name == reaches));
            pods.extend(grants.map(|grant| Can {
                pod: &pod.pod,
                host_network: pod.host_network,
                reaches,
                by: &grant.by,
                expires: grant.expires.as_deref(),
            }));
        }
    }
    let answer = WhoCan {
        endpoint: &endpoint.name,
        pods,
    };
    let output = &args.source.read.output;
    output::print(output, "MetadataWhoCan", &answer, |out| {
        let mut table = output::table(output, ["POD", "NETWORK", "REACHES", "BY", "EXPIRES"]);
        for row in &answer.pods {
            let network = if row.host_network { "node" } else { "pod" };
            let expires = row.expires.unwrap_or("never");
            table.add_row([row.pod, network, row.reaches, row.by, expires]);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(code)
}

/// There is no such endpoint: what there is, and what else may be done.
fn no_endpoint<'a>(name: &str, known: impl Iterator<Item = &'a str>, or: &str) -> Failure {
    let known: Vec<&str> = known.collect();
    Failure::new(format!("{name:?} is no metadata endpoint"))
        .help(format!("name one of {}{or}", known.join(", ")))
}

fn report(args: &MetadataReportArgs) -> Outcome {
    let (metadata, code) = ask(&args.source)?;
    let output: &OutputArgs = &args.source.read.output;
    output::print(output, "MetadataReport", &metadata, |out| {
        let header = [
            "POD",
            "NETWORK",
            "MAY REACH",
            "BY",
            "EXPIRES",
            "CONNECTIONS",
            "DENIED",
            "LAST DENIED",
        ];
        let mut table = output::table(output, header);
        for pod in &metadata.pods {
            table.add_row(cells(pod));
        }
        output::write_table(out, &mut table)?;
        let any = metadata.pods.iter().any(|pod| !pod.reached.is_empty());
        if any || metadata.audited {
            write_reached(out, output, &metadata)?;
        }
        Ok(())
    })?;
    Ok(code)
}

/// Who reached what without a grant, in an audit.
fn write_reached(out: &mut dyn Write, output: &OutputArgs, metadata: &Metadata) -> io::Result<()> {
    let now = match metadata.audited {
        true => "in audit: what has no grant passes",
        false => "not in audit now",
    };
    let since = metadata.since.as_deref().unwrap_or("-");
    writeln!(
        out,
        "\nThe metadata firewall is {now}. Reached without a grant since {since}:"
    )?;
    let header = [
        "POD",
        "SERVICE ACCOUNT",
        "NETWORK",
        "ENDPOINT",
        "TIMES",
        "LAST",
        "GRANTED NOW BY",
    ];
    let mut table = output::table(output, header);
    for pod in &metadata.pods {
        for it in &pod.reached {
            let endpoint = it.endpoint.as_deref();
            let by: Vec<&str> = endpoint
                .map(|name| pod.grants_of(metadata, name))
                .into_iter()
                .flatten()
                .map(|grant| grant.by.as_str())
                .collect();
            table.add_row([
                pod.pod.clone(),
                pod.service_account
                    .clone()
                    .unwrap_or_else(|| "-".to_owned()),
                network(pod).to_owned(),
                endpoint.unwrap_or("-").to_owned(),
                it.times.to_string(),
                it.last.clone(),
                match by.is_empty() {
                    true => "-".to_owned(),
                    false => by.join(";"),
                },
            ]);
        }
    }
    output::write_table(out, &mut table)?;
    if metadata.forgotten > 0 {
        writeln!(
            out,
            "{} more are forgotten for want of room.",
            metadata.forgotten
        )?;
    }
    Ok(())
}

fn cells(pod: &MetadataPod) -> [String; 8] {
    let join = |texts: Vec<String>| match texts.is_empty() {
        true => "-".to_owned(),
        false => texts.join(";"),
    };
    let each = |cell: fn(&MetadataGrant) -> String| join(pod.grants.iter().map(cell).collect());
    let denied: u64 = pod.denied.iter().map(|it| it.times).sum();
    let told = |it: &MetadataTried| {
        let endpoint = it.endpoint.as_deref().unwrap_or("-");
        format!("{} ({endpoint}) at {}, {}", it.address, it.hook, it.last)
    };
    let latest = pod.denied.iter().max_by(|a, b| a.last.cmp(&b.last));
    [
        pod.pod.clone(),
        network(pod).to_owned(),
        each(|grant| grant.endpoints.join(",")),
        each(|grant| grant.by.clone()),
        each(|grant| grant.expires.clone().unwrap_or_else(|| "never".to_owned())),
        pod.connections.to_string(),
        denied.to_string(),
        latest.map_or_else(|| "-".to_owned(), told),
    ]
}

const fn network(pod: &MetadataPod) -> &'static str {
    if pod.host_network { "node" } else { "pod" }
}
