//! The metadata firewall's say: before any policy.

use std::net::IpAddr;

use ringfence_common::cell::Verdict;

use super::{Port, Side, word};
use crate::{
    compile::{Because, Denied, Grantor, Metadata, Options, grants_of},
    metadata::clouds,
    model::{EndpointKind, Origin, PodKey, Snapshot},
};

/// A snapshot, prepared for questions about metadata.
pub(super) struct Oracle<'a> {
    snapshot: &'a Snapshot,
    metadata: Metadata,
    options: Options,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, options: Options) -> Self {
        Self {
            snapshot,
            metadata: Metadata::of(snapshot),
            options,
        }
    }

    /// About what a pod sends to an address.
    pub(super) fn asks(&self, key: &PodKey, to: IpAddr, port: Port) -> Option<Side> {
        let (address, denied) = self.metadata.at(to)?;
        let name = &denied.endpoint;
        if !denied.is_denied(port) {
            let because = match &denied.ports {
                Some(_) if denied.open == 0 => {
                    format!("{to} is metadata service {name} at other ports only")
                }
                _ => format!("{to} also serves DNS or NTP, which stay open"),
            };
            return Some(side(Verdict::Allow, because));
        }
        let grants = self.grants(key);
        if let Some(grant) = grants.iter().find(|it| it.endpoints.contains(name)) {
            return Some(self.granted(key, grant, format!("{to} is {name}")));
        }
        let proxy = grants.iter().find_map(|grant| {
            let mut names = grant.endpoints.iter();
            Some((grant, names.find(|it| self.stands_for(it, name))?))
        });
        if let Some((grant, proxy)) = proxy {
            let what = format!(
                "{to} is {name}, for which {proxy} answers: it gets through only where the node translates it to {proxy}"
            );
            return Some(self.granted(key, grant, what));
        }
        let because = format!("{}, and pod {key} has no grant", told(address, denied));
        Some(self.denied(because))
    }

    /// What has no grant, denied or in audit.
    fn denied(&self, because: String) -> Side {
        if !self.metadata.audited {
            return side(Verdict::Deny, because);
        }
        let because =
            format!("{because}; MetadataFirewall/default is in audit: it passes, and is told of");
        Side {
            staged: Some(word(Verdict::Deny)),
            ..side(Verdict::Allow, because)
        }
    }

    /// About what a metadata service opens: the firewall stands before connection tracking, so it stops the replies.
    pub(super) fn replies(&self, key: &PodKey, from: IpAddr) -> Option<Side> {
        let (_, denied) = self.metadata.at(from)?;
        let granted = |grant: &Because| grant.endpoints.contains(&denied.endpoint);
        // The port that it opens from is any.
        if denied.ports.is_some() || self.grants(key).iter().any(granted) {
            return None;
        }
        let so = if self.metadata.audited {
            "would be"
        } else {
            "are"
        };
        let because = format!(
            "pod {key} has no grant, so its replies to the metadata service {from} ({}) {so} denied",
            denied.endpoint
        );
        Some(self.denied(because))
    }

    fn grants(&self, key: &PodKey) -> Vec<Because> {
        let pod = self.snapshot.pods.get(key);
        pod.map(|pod| grants_of(pod, self.snapshot, &self.metadata, &self.options))
            .unwrap_or_default()
    }

    fn stands_for(&self, proxy: &str, name: &str) -> bool {
        match self.metadata.endpoints.get(proxy) {
            Some(EndpointKind::Proxy(names)) => names.contains(name),
            _ => false,
        }
    }

    fn granted(&self, key: &PodKey, grant: &Because, what: String) -> Side {
        let mut side = side(Verdict::Allow, String::new());
        side.because = match &grant.by {
            Grantor::Annotation(annotation) => {
                format!("pod {key} has the annotation {annotation}; {what}")
            }
            Grantor::Agent => format!("pod {key} is the agent's own; {what}"),
            Grantor::HostNetwork => format!(
                "pod {key} has its node's network, which MetadataFirewall/default grants; {what}"
            ),
            Grantor::HostNetworkException(name) => format!(
                "pod {key} has its node's network, and MetadataFirewall/default grants it by its exception {name}; {what}"
            ),
            Grantor::Access(name) => {
                let object = self.snapshot.grants.get(name);
                side.origin = object
                    .map(|object| &object.origin)
                    .filter(|origin| **origin != Origin::default())
                    .map(ToString::to_string);
                side.rule = Some(format!("MetadataAccess/{name}"));
                format!("MetadataAccess/{name}; {what}")
            }
        };
        side
    }
}

fn told(address: IpAddr, denied: &Denied) -> String {
    let name = &denied.endpoint;
    match clouds(address) {
        Some(clouds) => format!("{address} is a metadata service ({name}: {clouds})"),
        None => format!("{address} is a metadata service ({name})"),
    }
}

fn side(verdict: Verdict, because: String) -> Side {
    Side {
        verdict: word(verdict),
        staged: None,
        because,
        rule: None,
        origin: None,
    }
}
