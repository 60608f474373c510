//! How the agents' DaemonSet is named, and how it is told from others.

use std::{fmt, str::FromStr};

use super::failure::Failure;

/// The label that the chart gives to all that is Ringfence's, whatever the release and its objects are called.
pub(super) const LABEL: &str = "app.kubernetes.io/part-of=ringfence";
/// The container that the agent is in.
pub(super) const CONTAINER: &str = "agent";
/// The program in it.
pub(super) const PROGRAM: &str = "/usr/bin/ringfence";

/// `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DaemonSetName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for DaemonSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for DaemonSetName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let is_name = |part: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !part.is_empty() && !part.starts_with(['-', '.']) && part.chars().all(plain)
        };
        text.split_once('/')
            .filter(|(namespace, name)| is_name(namespace) && is_name(name))
            .map(|(namespace, name)| Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
            .ok_or_else(|| {
                Failure::new("a DaemonSet is named by its namespace and its name")
                    .at(format!("--daemon-set {text}"))
                    .help("as in --daemon-set ringfence-system/ringfence")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_and_a_name_and_nothing_else() {
        let name: DaemonSetName = "ringfence-system/rf.1".parse().unwrap();
        assert_eq!(name.to_string(), "ringfence-system/rf.1");
        for text in [
            "",
            "rf",
            "/rf",
            "ns/",
            "ns/rf/x",
            "ns/--as=x",
            "-A/rf",
            "ns/Rf",
            "ns/r f",
        ] {
            text.parse::<DaemonSetName>().expect_err(text);
        }
    }
}
