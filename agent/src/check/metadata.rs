//! Rules of kube2iam and kiam, which catch what pods ask the cloud's metadata service.

use super::{Facts, Finding};

const NAME: &str = "metadata";

/// Addresses of metadata services that such rules name.
const ADDRESSES: [&str; 3] = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254"];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let rules = match &facts.rules {
        Ok(rules) => &rules.lines,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("rules of address translation cannot be seen: {reason}"),
                "run `ringfence check` on the node, with iptables or nftables; or look there: iptables-save -t nat | grep 169.254",
            )];
        }
    };
    let caught: Vec<&String> = rules
        .iter()
        .filter(|rule| {
            let rule = rule.to_lowercase();
            ADDRESSES.iter().any(|address| rule.contains(address))
                && ["dnat", "redirect", "tproxy"]
                    .iter()
                    .any(|it| rule.contains(it))
        })
        .collect();
    if caught.is_empty() {
        return vec![Finding::fine(
            NAME,
            "no rule sends pods' metadata requests elsewhere",
        )];
    }
    caught
        .into_iter()
        .map(|rule| {
            Finding::warning(
                NAME,
                format!("a rule catches metadata requests, as those of kube2iam and kiam do: {rule}"),
                "Ringfence judges before that rule: pods that shall still get roles from there need the annotation \
                 metadata.ringfence.dev/access, or agent.iamRoleAnnotation=true; in the end, remove rule and proxy",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Rules, worst},
        *,
    };

    #[test]
    fn the_rules_of_kube2iam_and_kiam_are_known() {
        for (rule, level) in [
            (
                "-A PREROUTING -d 169.254.169.254/32 -i cali+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8181",
                Level::Warning,
            ),
            (
                "ip daddr 169.254.169.254 tcp dport 80 dnat to 10.0.0.5:8181",
                Level::Warning,
            ),
            (
                "-A PREROUTING -d 169.254.169.254/32 ! -i eth0 -p tcp -j REDIRECT --to-ports 3100",
                Level::Warning,
            ),
            ("-A OUTPUT -d 169.254.169.254/32 -j DROP", Level::Fine),
            ("-A POSTROUTING -j MASQUERADE", Level::Fine),
        ] {
            let found = check(&Facts {
                rules: Ok(Rules {
                    lines: vec![rule.to_owned()],
                    unseen: Vec::new(),
                }),
                ..Facts::good()
            });
            assert_eq!(worst(&found), level, "{rule}");
        }
        let hidden = check(&Facts {
            rules: Err("there is no iptables-save".to_owned()),
            ..Facts::good()
        });
        assert_eq!(worst(&hidden), Level::Warning);
    }
}
