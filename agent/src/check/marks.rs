//! Software that writes to the bits of the packet mark that tell who sent a packet.

use super::{Facts, Finding};

const NAME: &str = "mark";

/// Targets and statements that set a whole mark, whatever was in it: as iptables prints them with a full mask.
const WHOLE: [&str; 3] = ["--set-mark ", "--set-xmark ", "--restore-mark"];

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
    for rule in facts.rules.as_deref().unwrap_or_default() {
        if let Some(bits) = bits_set(rule).map(|bits| bits & facts.marks)
            && bits != 0
        {
            findings.push(Finding::warning(
                NAME,
                format!("a rule writes to the bits {bits:#x} of the packet mark, which are Ringfence's: {rule}"),
                "give the rule a mask (--set-xmark VALUE/MASK), or Ringfence other bits (--mark-source-mask)",
            ));
        }
    }
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

/// The bits of the packet mark that a rule, as `iptables-save` prints it, writes to.
fn bits_set(rule: &str) -> Option<u32> {
    // CONNMARK's --set-xmark writes to the connection's mark, and only --restore-mark to the packet's.
    let connection = rule.contains("-j CONNMARK");
    let restores = rule.contains("--restore-mark");
    if connection && !restores {
        return None;
    }
    if restores {
        let mask = word_after(rule, "--mask ").or_else(|| word_after(rule, "--nfmask "));
        return Some(mask.and_then(number).unwrap_or(u32::MAX));
    }
    let text = WHOLE.iter().find_map(|option| word_after(rule, option))?;
    match text.split_once('/') {
        // What is set and what is cleared: both are written.
        Some((value, mask)) => Some(number(mask)? | number(value)?),
        None => Some(u32::MAX),
    }
}

fn word_after<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    rule.split_once(option)?.1.split(' ').next()
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
        super::{Level, MarkUser, worst},
        *,
    };

    #[test]
    fn only_rules_that_touch_our_bits_are_told() {
        for (rule, level) in [
            (
                "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
                Level::Fine,
            ),
            ("-A X -j MARK --set-xmark 0x1/0xffffffff", Level::Warning),
            ("-A X -j MARK --set-mark 1", Level::Warning),
            ("-A X -j MARK --set-xmark 0x0/0x00010000", Level::Warning),
            ("-A X -j CONNMARK --set-xmark 0x1/0xffffffff", Level::Fine),
            (
                "-A X -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
                Level::Fine,
            ),
            (
                "-A X -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
                Level::Warning,
            ),
            ("-A X -m mark --mark 0x1 -j ACCEPT", Level::Fine),
        ] {
            let found = check(&Facts {
                marks: 0x7fff_0000,
                rules: Ok(vec![rule.to_owned()]),
                ..Facts::good()
            });
            assert_eq!(worst(&found), level, "{rule}: {found:?}");
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
