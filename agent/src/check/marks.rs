//! Software that writes to the bits of the packet mark that tell who sent a packet.

mod nft;

use super::{Facts, Finding};

const NAME: &str = "mark";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .mark_users
        .iter()
        .map(|user| {
            Finding::warning(
                NAME,
                user.message.clone(),
                "choose bits that nobody uses (agent.markSourceMask and agent.markProofMask of the chart)",
            )
        })
        .collect();
    match &facts.rules {
        Ok(rules) => findings.extend(rules.lines.iter().filter_map(|rule| judge(facts, rule))),
        Err(reason) => findings.push(unseen(reason)),
    }
    let rules = facts.rules.as_ref();
    findings.extend(
        rules
            .iter()
            .flat_map(|rules| &rules.unseen)
            .map(|reason| unseen(reason)),
    );
    if findings.is_empty() {
        findings.push(Finding::fine(
            NAME,
            format!(
                "nobody was seen to use the bits {:#x} of the packet mark",
                facts.marks
            ),
        ));
    }
    findings
}

fn judge(facts: &Facts, rule: &str) -> Option<Finding> {
    let bits = bits_set(rule) & facts.marks;
    (bits != 0).then(|| {
        Finding::warning(
            NAME,
            format!("a rule writes to the bits {bits:#x} of the packet mark, which are Ringfence's: {rule}"),
            "give the rule a mask (--set-xmark VALUE/MASK, or in nft: meta mark set meta mark & MASK | VALUE), or Ringfence other \
             bits (--mark-source-mask)",
        )
    })
}

fn unseen(reason: &str) -> Finding {
    Finding::warning(
        NAME,
        format!("rules that may write to the packet mark cannot be seen: {reason}"),
        "run it as root on the node itself, where iptables-save and nft are, or look there: \
         iptables-save | grep -i mark; nft list ruleset | grep mark",
    )
}

/// The bits of the packet mark that a rule writes to.
fn bits_set(rule: &str) -> u32 {
    // What somebody remarks about a rule sets nothing.
    let rule: String = rule.split('"').step_by(2).collect();
    let words: Vec<&str> = rule.split_whitespace().collect();
    match words.iter().position(|word| *word == "-j") {
        Some(jump) => iptables(&words[jump + 1..]),
        None => nft::bits_set(&words),
    }
}

/// Of a target, as `iptables-save` prints it.
fn iptables(words: &[&str]) -> u32 {
    let after = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    match words.first().copied() {
        Some("MARK") => {
            let set = after("--set-xmark").or_else(|| after("--set-mark"));
            masked(set.unwrap_or_default())
        }
        // With its other options it writes to the connection's mark.
        Some("CONNMARK") if words.contains(&"--restore-mark") => {
            let mask = |option| after(option).map(|mask| number(mask).unwrap_or(u32::MAX));
            match (
                mask("--nfmask").or_else(|| mask("--mask")),
                mask("--ctmask"),
            ) {
                (None, None) => u32::MAX,
                (cleared, copied) => cleared.unwrap_or(0) | copied.unwrap_or(0),
            }
        }
        Some("TPROXY") => after("--tproxy-mark").map_or(0, masked),
        // They set what a hash or a set says.
        Some("HMARK") => u32::MAX,
        Some("SET") if words.contains(&"--map-mark") => u32::MAX,
        _ => 0,
    }
}

/// Of `VALUE/MASK` what is set and what is cleared: both are written.
fn masked(text: &str) -> u32 {
    let bits = text
        .split_once('/')
        .and_then(|(value, mask)| Some(number(value)? | number(mask)?));
    bits.unwrap_or(u32::MAX)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, MarkUser, Rules, worst},
        *,
    };

    fn level(rule: &str) -> Level {
        let found = check(&Facts {
            marks: 0x7fff_0000,
            rules: Ok(Rules {
                lines: vec![rule.to_owned()],
                unseen: Vec::new(),
            }),
            ..Facts::good()
        });
        worst(&found)
    }

    #[test]
    fn only_rules_that_touch_our_bits_are_told() {
        for rule in [
            "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            "-A X -j CONNMARK --set-xmark 0x1/0xffffffff",
            "-A X -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
            "-A X -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
            "-A X -m mark --mark 0x1 -j ACCEPT",
            "-A X -m comment --comment \"-j MARK --set-mark 1\" -j ACCEPT",
            "-A X -p tcp -j TPROXY --on-port 1 --on-ip 0.0.0.0 --tproxy-mark 0x200/0xf00",
            "meta mark set meta mark | 0x00004000",
            "counter packets 0 bytes 0 meta mark set mark or 0x4000",
            "meta mark set mark and 0xffffbfff xor 0x1",
            "meta mark set meta mark & 0xffff00ff | ct mark & 0x0000ff00",
            "meta mark set meta mark & 0xffff00ff | ( ct mark & 0x0000ff00 )",
            "ct mark set meta mark",
            "ct mark set mark and 0x1",
            "meta mark & 0x00004000 == 0x00004000 masquerade",
            "meta l4proto tcp accept comment \"meta mark set 0x1\"",
        ] {
            assert_eq!(level(rule), Level::Fine, "{rule}");
        }
        for rule in [
            "-A X -j MARK --set-xmark 0x1/0xffffffff",
            "-A X -j MARK --set-mark 1",
            "-A X -j MARK --set-xmark 0x0/0x00010000",
            "-A X -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
            "-A X -j CONNMARK --restore-mark",
            "-A X -j TPROXY --on-port 1 --tproxy-mark 0x1/0xffffffff",
            "-A X -j SET --map-set s src --map-mark",
            "-A X -j HMARK --hmark-tuple src --hmark-mod 2",
            "meta mark set 0x00000001",
            "mark set 1",
            "ip daddr 10.0.0.1 meta mark set meta mark | 0x00010000 accept",
            "meta mark set mark and 0xfffeffff xor 0x0",
            "meta mark set mark or 0x1 meta mark set mark or 0x10000",
            "meta mark set ct mark",
            "meta mark set ct mark & 0x000000ff",
            "meta mark set numgen inc mod 2 map { 0 : 0x00000001, 1 : 0x00000002 }",
            "meta mark set meta mark << 8",
            "meta mark set meta mark | known",
            "ct mark set meta mark meta mark set 0x1",
        ] {
            assert_eq!(level(rule), Level::Warning, "{rule}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        for rules in [
            Err("nft: no such file".to_owned()),
            Ok(Rules {
                lines: Vec::new(),
                unseen: vec!["nft: no such file".to_owned()],
            }),
        ] {
            let found = check(&Facts {
                rules,
                ..Facts::good()
            });
            assert_eq!(worst(&found), Level::Warning);
            assert!(found[0].message.contains("no such file"), "{found:?}");
        }
    }

    #[test]
    fn those_known_by_their_devices_are_told() {
        let found = check(&Facts {
            mark_users: vec![MarkUser {
                message: "cali1 is Calico's".to_owned(),
            }],
            ..Facts::good()
        });
        assert_eq!(worst(&found), Level::Warning);
    }
}
