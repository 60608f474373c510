//! `--outside NAME=ADDRESS`: who is in the matrix without being a pod.
//!
//! **Invariant.** A row has one name, and in each address family one address; no name is a pod's.

use std::{fmt, net::IpAddr};

use super::{endpoint, failure::Failure};
use crate::{
    compile::{Family, service_at},
    model::Snapshot,
};

/// Somebody outside.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    /// As it was written.
    text: &'a str,
    pub name: String,
    pub address: IpAddr,
}

impl fmt::Display for Outside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--outside {}", self.text)
    }
}

impl<'a> Outside<'a> {
    /// Reads them, each `NAME=ADDRESS` or an address.
    pub(super) fn parse(texts: &'a [String]) -> Result<Vec<Self>, Failure> {
        let all: Vec<Self> = texts
            .iter()
            .map(|text| Self::parse_one(text))
            .collect::<Result<_, _>>()?;
        for (at, one) in all.iter().enumerate() {
            let namesake = all[..at].iter().find(|other| {
                other.name == one.name && Family::of(other.address) == Family::of(one.address)
            });
            if let Some(other) = namesake {
                return Err(Failure::new(format!("the name {:?} is given twice", one.name))
                    .at(other.to_string())
                    .at(one.to_string())
                    .help(
                        "give each address a name of its own; one name may have one IPv4 and one IPv6 address",
                    ));
            }
        }
        Ok(all)
    }

    fn parse_one(text: &'a str) -> Result<Self, Failure> {
        let (name, of) = text.split_once('=').unwrap_or((text, text));
        let plain = of.strip_prefix("ip/").unwrap_or(of);
        let name = name.strip_prefix("ip/").unwrap_or(name);
        let refuse = |what: String| {
            Failure::new(what)
                .at(format!("--outside {text}"))
                .help("write NAME=ADDRESS, as in internet=203.0.113.7")
        };
        if name.is_empty() {
            return Err(refuse("the name is empty".to_owned()));
        }
        if name.contains(char::is_control) {
            return Err(refuse(format!("{name:?} does not fit into a line")));
        }
        let address =
            endpoint::address(plain).ok_or_else(|| refuse(format!("{plain:?} is no address")))?;
        Ok(Self {
            text,
            name: name.to_owned(),
            address,
        })
    }

    /// Refuses names and addresses that the manifests have for something else.
    pub(super) fn check(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        if let Some(pod) = snapshot
            .pods
            .values()
            .find(|pod| pod.key.to_string() == self.name)
        {
            return Err(
                Failure::new(format!("{:?} is the name of a pod", self.name))
                    .at(self.to_string())
                    .at(format!("{}: Pod/{}", pod.origin, pod.key))
                    .help("give the address outside another name"),
            );
        }
        // What is sent to a service's address is judged as what goes to the pods behind it, which have columns of
        // their own.
        match service_at(snapshot, self.address, None) {
            None => Ok(()),
            Some(service) => {
                let (namespace, name) = (&service.namespace, &service.name);
                Err(Failure::new(format!(
                    "{} is an address of service {namespace}/{name}, not of somebody outside",
                    self.address
                ))
                .at(self.to_string())
                .help(format!(
                    "look at the columns of the pods behind it, or ask `ringfence can POD svc/{namespace}/{name} PORT`"
                )))
            }
        }
    }
}
