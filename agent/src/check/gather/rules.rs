//! Rules of address translation and of marks, as the node's own tools print them.

use std::{
    io,
    process::{Command, Stdio},
};

use super::super::{Rules, Seen};

/// Tools and what they are asked: both kinds of iptables, and nftables itself.
const TOOLS: [(&str, &[&str]); 5] = [
    ("iptables-save", &[]),
    ("iptables-legacy-save", &[]),
    ("ip6tables-save", &[]),
    ("ip6tables-legacy-save", &[]),
    ("nft", &["list", "ruleset"]),
];

/// What iptables prints of a rule in whose words nft cannot tell it.
const FOREIGN: [&str; 3] = [
    "xt target \"MARK\"",
    "xt target \"CONNMARK\"",
    "xt target \"TPROXY\"",
];

/// What all tools that are here print.
pub(super) fn read() -> Seen<Rules> {
    let answers = TOOLS.map(|(tool, args)| (tool, run(tool, args)));
    judge(answers)
}

/// How a tool answered that did not print what it was asked.
enum Refusal {
    /// It is not here.
    Absent,
    /// It says why.
    Failed(String),
}

fn judge(
    answers: impl IntoIterator<Item = (&'static str, Result<String, Refusal>)>,
) -> Seen<Rules> {
    let mut rules = Rules::default();
    let mut answered = Vec::new();
    let mut absent = Vec::new();
    for (tool, answer) in answers {
        match answer {
            Ok(text) => {
                answered.push(tool);
                let lines = text.lines().map(str::trim);
                rules.lines.extend(
                    lines
                        .filter(|line| !line.is_empty() && !line.starts_with('#'))
                        .map(str::to_owned),
                );
            }
            Err(Refusal::Absent) => absent.push(tool),
            Err(Refusal::Failed(reason)) => rules.unseen.push(format!("{tool}: {reason}")),
        }
    }
    if answered.is_empty() {
        if !absent.is_empty() {
            rules
                .unseen
                .push(format!("not here: {}", absent.join(", ")));
        }
        return Err(rules.unseen.join("; "));
    }
    // A kind of iptables that is not here is one that is not used; but nft has rules that no iptables shows.
    if absent.contains(&"nft") {
        rules.unseen.push("nft: not here".to_owned());
    }
    let is_foreign = |line: &String| FOREIGN.iter().any(|target| line.contains(target));
    if answered == ["nft"] && rules.lines.iter().any(is_foreign) {
        let reason = "nft: rules of iptables, which iptables-save is not here to show";
        rules.unseen.push(reason.to_owned());
    }
    rules.lines.sort();
    rules.lines.dedup();
    Ok(rules)
}

fn run(tool: &str, args: &[&str]) -> Result<String, Refusal> {
    // Administration tools are often outside an ordinary user's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Refusal::Absent,
            _ => Refusal::Failed(error.to_string()),
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or_default();
        Err(Refusal::Failed(format!("{} {first}", output.status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answers: &[(&'static str, Result<&str, Option<&str>>)]) -> Seen<Rules> {
        judge(answers.iter().map(|&(tool, answer)| {
            let answer = answer.map(str::to_owned).map_err(|reason| {
                reason.map_or(Refusal::Absent, |reason| Refusal::Failed(reason.to_owned()))
            });
            (tool, answer)
        }))
    }

    #[test]
    fn what_a_tool_did_not_show_is_said() {
        let rules = said(&[
            ("iptables-save", Ok("# by\n*nat\n-A X\n-A X\n")),
            ("iptables-legacy-save", Err(None)),
            ("nft", Ok("table ip nat {\n")),
        ])
        .unwrap();
        assert_eq!(rules.lines, ["*nat", "-A X", "table ip nat {"]);
        assert!(rules.unseen.is_empty());
        for (nft, reason) in [
            (Err(None), "nft: not here"),
            (Err(Some("not permitted")), "nft: not permitted"),
        ] {
            let rules = said(&[("iptables-save", Ok("")), ("nft", nft)]).unwrap();
            assert_eq!(rules.unseen, [reason]);
        }
        let translated = Ok("xt target \"MARK\"\n");
        let rules = said(&[("iptables-save", Err(None)), ("nft", translated)]).unwrap();
        assert_eq!(rules.unseen.len(), 1);
        let rules = said(&[("iptables-save", Ok("")), ("nft", translated)]).unwrap();
        assert!(rules.unseen.is_empty());
        let nothing = said(&[("iptables-save", Err(Some("refused"))), ("nft", Err(None))]);
        assert_eq!(
            nothing.unwrap_err(),
            "iptables-save: refused; not here: nft"
        );
    }
}
