//! Rules of kube2iam and kiam, which catch what pods ask the cloud's metadata service.

use std::net::IpAddr;

use super::{Facts, Finding};
use crate::metadata::catalogue;

const NAME: &str = "metadata";

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
    let caught: Vec<(&String, Caught)> = rules
        .iter()
        .filter_map(|rule| Some((rule, caught(rule)?)))
        .collect();
    if caught.is_empty() {
        return vec![Finding::fine(
            NAME,
            "no rule sends pods' metadata requests elsewhere",
        )];
    }
    caught
        .into_iter()
        .map(|(rule, caught)| {
            let Caught {
                who,
                endpoint,
                port,
            } = caught;
            let port = port.map_or_else(|| "its port".to_owned(), |port| port.to_string());
            Finding::warning(
                NAME,
                format!("a rule catches what pods ask of {endpoint}, as those of {who} do: {rule}"),
                format!(
                    "Ringfence judges before that rule: pods without a grant stay denied. For those that shall still get roles from \
                     there, add the proxy to the MetadataFirewall (name: {}, kind: Proxy, standsFor: [{endpoint}], ports: [{port}]) \
                     and grant it; `ringfence metadata report --from kube2iam` prints the grants for all of them. In the end, \
                     remove rule and proxy",
                    who.split(' ').next().unwrap_or(who),
                ),
            )
        })
        .collect()
}

/// A rule that catches metadata requests.
#[derive(Debug, PartialEq, Eq)]
struct Caught {
    /// Whose it looks like.
    who: &'static str,
    /// What they were for.
    endpoint: &'static str,
    /// The port that they are sent to.
    port: Option<u16>,
}

fn caught(rule: &str) -> Option<Caught> {
    let rule = rule.to_lowercase();
    let words: Vec<&str> = rule.split_whitespace().collect();
    let translates = ["dnat", "redirect", "tproxy"];
    if !words.iter().any(|word| translates.contains(word)) {
        return None;
    }
    let endpoint = words.iter().find_map(|word| {
        let address = word.split('/').next()?.trim_matches(['{', '}', ',']);
        let address: IpAddr = address.parse().ok()?;
        let mut all = catalogue().endpoints.iter();
        let found = all.find(|it| it.addresses.iter().any(|it| it.address == address))?;
        Some(found.name.as_str())
    })?;
    // Where it is sent is what is said last.
    let port = words.iter().rev().find_map(|word| {
        let after = word.rsplit(':').next()?;
        after.parse::<u16>().ok().filter(|port| *port > 0)
    });
    let who = match port {
        Some(8181) if rule.contains("kiam") || rule.contains("! -i") => "kiam",
        Some(8181) => "kube2iam",
        _ => "kube2iam and kiam",
    };
    Some(Caught {
        who,
        endpoint,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Rules, worst},
        *,
    };

    #[test]
    fn the_rules_of_kube2iam_and_kiam_are_known() {
        for (rule, found) in [
            (
                "-A PREROUTING -d 169.254.169.254/32 -i cali+ -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8181",
                Some(("kube2iam", "imds", Some(8181))),
            ),
            (
                "ip daddr 169.254.169.254 tcp dport 80 dnat to 10.0.0.5:8181",
                Some(("kube2iam", "imds", Some(8181))),
            ),
            (
                "-A PREROUTING -d 169.254.169.254/32 ! -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8181",
                Some(("kiam", "imds", Some(8181))),
            ),
            (
                "-A PREROUTING -d 169.254.169.254/32 ! -i eth0 -p tcp -j REDIRECT --to-ports 3100",
                Some(("kube2iam and kiam", "imds", Some(3100))),
            ),
            (
                "-A PREROUTING -d 100.100.100.200/32 -p tcp -j REDIRECT --to-ports 99",
                Some(("kube2iam and kiam", "imds", Some(99))),
            ),
            (
                "ip6 daddr { fd00:ec2::254 } tcp dport 80 redirect to :8080",
                Some(("kube2iam and kiam", "imds", Some(8080))),
            ),
            ("-A OUTPUT -d 169.254.169.254/32 -j DROP", None),
            (
                "-A PREROUTING -d 169.254.170.23/32 -p tcp -j REDIRECT --to-ports 80",
                None,
            ),
            ("-A POSTROUTING -j MASQUERADE", None),
        ] {
            let expect = found.map(|(who, endpoint, port)| Caught {
                who,
                endpoint,
                port,
            });
            assert_eq!(caught(rule), expect, "{rule}");
            let level = match found {
                Some(_) => Level::Warning,
                None => Level::Fine,
            };
            let said = check(&Facts {
                rules: Ok(Rules {
                    lines: vec![rule.to_owned()],
                    unseen: Vec::new(),
                }),
                ..Facts::good()
            });
            assert_eq!(worst(&said), level, "{rule}");
        }
        let hidden = check(&Facts {
            rules: Err("there is no iptables-save".to_owned()),
            ..Facts::good()
        });
        assert_eq!(worst(&hidden), Level::Warning);
    }
}
