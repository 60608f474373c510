//! Rules of address translation and of marks, as the node's own tools print them.

use std::process::{Command, Stdio};

use super::super::Seen;

/// Tools and what they are asked: both kinds of iptables, and nftables itself.
const TOOLS: [(&str, &[&str]); 5] = [
    ("iptables-save", &[]),
    ("iptables-legacy-save", &[]),
    ("ip6tables-save", &[]),
    ("ip6tables-legacy-save", &[]),
    ("nft", &["list", "ruleset"]),
];

/// What all tools that are here print.
pub(super) fn read() -> Seen<Vec<String>> {
    let mut rules = Vec::new();
    let mut refused = Vec::new();
    let mut answered = false;
    for (tool, args) in TOOLS {
        match run(tool, args) {
            Ok(text) => {
                answered = true;
                rules.extend(
                    text.lines()
                        .map(str::trim)
                        .filter(|line| !line.is_empty() && !line.starts_with('#'))
                        .map(str::to_owned),
                );
            }
            Err(reason) => refused.push(reason),
        }
    }
    if answered {
        rules.sort();
        rules.dedup();
        Ok(rules)
    } else {
        Err(refused.join("; "))
    }
}

fn run(tool: &str, args: &[&str]) -> Seen<String> {
    // Administration tools are often outside an ordinary user's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or_default();
        Err(format!("{tool}: {} {first}", output.status))
    }
}
