//! `ringfence observe`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::ValueEnum as _;

use super::{
    client::{self, Client},
    failure::{Failure, Outcome},
};
use crate::{
    args::{FlowFormat, ObserveArgs},
    observe::flow::{Flow, FlowVerdict, SCHEMA},
};

pub(super) fn run(args: &ObserveArgs) -> Outcome {
    let ObserveArgs {
        follow,
        verdict,
        from,
        to,
        port,
        last,
        output,
        at,
        cluster: _,
    } = args;
    let verdicts: Vec<String> = verdict
        .iter()
        .filter_map(|verdict| {
            verdict
                .to_possible_value()
                .map(|value| value.get_name().to_owned())
        })
        .collect();
    let path = client::query(
        "/v1/events",
        &[
            ("follow", follow.then(|| "true".to_owned())),
            (
                "verdict",
                (!verdicts.is_empty()).then(|| verdicts.join(",")),
            ),
            ("from", from.clone()),
            ("to", to.clone()),
            ("port", port.map(|port| port.to_string())),
            ("last", last.map(|last| last.to_string())),
        ],
    );
    let client = Client::new(at)?;
    let mut out = io::stdout().lock();
    let color =
        out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    client.lines(&path, |line| {
        match output {
            FlowFormat::Jsonl => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            FlowFormat::Table => match serde_json::from_slice::<Flow>(line) {
                Ok(flow) if flow.schema == SCHEMA => writeln!(out, "{}", for_people(&flow, color))?,
                _ => say!("{}", not_a_flow(line)),
            },
        }
        out.flush()?;
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One line.
pub(super) fn for_people(flow: &Flow, color: bool) -> String {
    let time = flow
        .time
        .split_once('T')
        .map_or(flow.time.as_str(), |(_, time)| time);
    let time = time.get(..12).unwrap_or(time);
    let verdict = format!("{:<11}", flow.verdict.as_str());
    let verdict = match (color, flow.verdict) {
        (false, _) => verdict,
        (true, FlowVerdict::Allowed) => format!("\x1b[32m{verdict}\x1b[0m"),
        (true, FlowVerdict::Denied) => format!("\x1b[31m{verdict}\x1b[0m"),
        (true, FlowVerdict::WouldDeny | FlowVerdict::WouldAllow) => {
            format!("\x1b[33m{verdict}\x1b[0m")
        }
    };
    let why = flow
        .rule
        .as_ref()
        .map_or(flow.reason.as_str(), |rule| rule.name.as_str());
    let (src, dst) = (flow.src.label(), flow.dst.label());
    format!(
        "{time} {verdict} {src} -> {dst} {} {} {why}",
        flow.transport, flow.direction
    )
}

/// What a line that is no flow says.
pub(super) fn not_a_flow(line: &[u8]) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_slice(line);
    match value
        .ok()
        .and_then(|value| value.get("flows").and_then(serde_json::Value::as_u64))
    {
        Some(flows) => Failure::new(format!(
            "{flows} flows came faster than they were read, and are not shown"
        ))
        .to_string(),
        None => Failure::new("the agent sent a line that is no flow")
            .at(String::from_utf8_lossy(line))
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use ringfence_common::{
        Hook,
        cell::{Tier, Verdict},
        event::Reason,
    };

    use super::*;
    use crate::{dataplane::EventView, observe::flow::AddressBook};

    #[test]
    fn a_flow_fits_on_one_line() {
        let event = EventView {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_183_801_114),
            hook: Hook::ToPod,
            verdict: Verdict::Deny,
            staged: Verdict::Deny,
            reason: Reason::Policy,
            tier: Some(Tier::NetworkPolicy),
            rule: Some("NetworkPolicy/db/mysql".to_owned()),
            endpoint: Some("db/mysql-0".to_owned()),
            ifindex: 7,
            source: "2001:db8::7".parse().unwrap(),
            destination: "2001:db8::9".parse().unwrap(),
            source_port: 40_000,
            destination_port: 3306,
            protocol: 6,
            length: 60,
        };
        let flow = Flow::new(&event, "w3", &AddressBook::default());
        assert_eq!(
            for_people(&flow, false),
            "14:10:01.114 DENIED      [2001:db8::7]:40000 -> db/mysql-0:3306 tcp ingress NetworkPolicy/db/mysql"
        );
        let json = serde_json::to_string(&flow).unwrap();
        assert_eq!(serde_json::from_str::<Flow>(&json).unwrap(), flow);
        assert!(json.starts_with(r#"{"schema":"ringfence.flow/v1","time":"2026-11-20T14:10:01.114000Z","node":"w3","verdict":"DENIED""#), "{json}");
    }
}
