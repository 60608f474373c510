//! What is told, and about what.

use std::net::IpAddr;

use ringfence_common::event::Reason as Judged;

use crate::{
    metadata::ACCESS_ANNOTATION,
    observe::flow::{Flow, FlowVerdict},
    watch::Kind,
};

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// [`Kind::Pod`], [`Kind::NetworkPolicy`], or one that a definition defines.
    pub kind: Kind,
    /// Namespace; empty for kinds that are in none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why there is an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A pod has tried to reach cloud metadata without a grant.
    MetadataAccessDenied,
    /// What the policy says is not enforced.
    PolicyNotInForce,
    /// It is again.
    PolicyInForce,
    /// What the zone, policy, or grant of the cluster says is not enforced.
    NotInForce,
    /// It is again.
    InForce,
    /// It is in force, and names a zone that is not there.
    ZoneNotFound,
    /// It is in force, and names a metadata endpoint that is not there.
    EndpointNotFound,
    /// Policies are not enforced at the pod, or not the latest.
    PodNotEnforced,
    /// They are again.
    PodEnforced,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// About what.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
    /// What tells it from other things about the same object for the same reason.
    pub about: String,
    /// In words.
    pub text: String,
    /// True if every node says the same: then one Event is enough for all of them.
    pub shared: bool,
}

// === impl Subject ===

impl Subject {
    /// The subject that a diagnostic names, `Kind/namespace/name`; `None` for what Events are not written about.
    pub fn parse(object: &str) -> Option<Self> {
        let mut words = object.split('/');
        let kind = Kind::by_name(words.next()?)?;
        if !kind.is_custom() && !matches!(kind, Kind::Pod | Kind::NetworkPolicy) {
            return None;
        }
        let namespace = match kind.is_namespaced() {
            true => words.next()?.to_owned(),
            false => String::new(),
        };
        let name = words.next()?.to_owned();
        words.next().is_none().then_some(Self {
            kind,
            namespace,
            name,
        })
    }

    /// The namespace of Events about it: of what is in none they are in `default`, as Kubernetes' own are.
    pub fn events(&self) -> &str {
        match self.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        }
    }

    /// A pod, by `namespace/name`.
    pub fn pod(key: &str) -> Option<Self> {
        Self::parse(&format!("Pod/{key}"))
    }
}

// === impl Reason ===

impl Reason {
    /// The word, as in the Event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetadataAccessDenied => "MetadataAccessDenied",
            Self::PolicyNotInForce => "PolicyNotInForce",
            Self::PolicyInForce => "PolicyInForce",
            Self::NotInForce => "NotInForce",
            Self::InForce => "InForce",
            Self::ZoneNotFound => "ZoneNotFound",
            Self::EndpointNotFound => "EndpointNotFound",
            Self::PodNotEnforced => "PodNotEnforced",
            Self::PodEnforced => "PodEnforced",
        }
    }

    /// What was done, as in the Event.
    pub const fn action(self) -> &'static str {
        match self {
            Self::MetadataAccessDenied => "Deny",
            _ => "Enforce",
        }
    }

    /// `Warning` or `Normal`.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::PolicyInForce | Self::InForce | Self::PodEnforced => "Normal",
            _ => "Warning",
        }
    }

    /// Something is wrong with this kind of object.
    pub const fn trouble(kind: Kind) -> Self {
        match kind {
            Kind::NetworkPolicy => Self::PolicyNotInForce,
            kind if kind.is_custom() => Self::NotInForce,
            _ => Self::PodNotEnforced,
        }
    }

    /// It is settled.
    pub const fn settled(kind: Kind) -> Self {
        match kind {
            Kind::NetworkPolicy => Self::PolicyInForce,
            kind if kind.is_custom() => Self::InForce,
            _ => Self::PodEnforced,
        }
    }
}

/// What to tell of a flow: that it was denied access to metadata.
pub(super) fn metadata_denied(flow: &Flow) -> Option<Note> {
    if flow.reason != Judged::Metadata.as_str()
        || !matches!(flow.verdict, FlowVerdict::Denied | FlowVerdict::WouldAllow)
    {
        return None;
    }
    let subject = match (&flow.endpoint, &flow.src.namespace, &flow.src.pod) {
        (Some(pod), ..) => Subject::pod(pod)?,
        (None, Some(namespace), Some(name)) => Subject {
            kind: Kind::Pod,
            namespace: namespace.clone(),
            name: name.clone(),
        },
        (None, ..) => return None,
    };
    let address = flow.dst.ip.map(plain)?;
    let endpoint = flow.metadata.as_ref();
    let name = endpoint.map_or("", |it| it.endpoint.as_str());
    let clouds = endpoint.and_then(|it| it.clouds.as_deref());
    let what = match (name, clouds) {
        ("", _) => String::new(),
        (name, None) => format!(" ({name})"),
        (name, Some(clouds)) => format!(" ({name}: {clouds})"),
    };
    let way = if endpoint.is_some_and(|it| it.translated) {
        ", to which a Service or another translation led it"
    } else {
        ""
    };
    let grant = match name {
        "" => String::new(),
        name => format!(", or grant it {name} with a MetadataAccess"),
    };
    Some(Note {
        subject,
        reason: Reason::MetadataAccessDenied,
        about: address.to_string(),
        text: format!(
            "Denied access to the cloud metadata service at {address}{what}{way}: the pod has no grant. \
             If it needs it, annotate it {ACCESS_ANNOTATION}, where the cluster counts that annotation{grant}"
        ),
        shared: false,
    })
}

/// An IPv4 address in an IPv6 one is the same endpoint.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::flow::{FlowEnd, FlowMetadata};

    #[test]
    fn a_subject_is_a_pod_or_a_policy_with_a_name() {
        assert!(Subject::parse("NetworkPolicy/t/b").is_some());
        let zone = Subject::parse("SecurityZone/db").unwrap();
        assert_eq!((zone.name.as_str(), zone.events()), ("db", "default"));
        for other in [
            "kernel",
            "watch/Pod",
            "Service/t/b",
            "Pod/b",
            "Pod/t/b/c",
            "Node/n",
            "SecurityZone/t/b",
        ] {
            assert_eq!(Subject::parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_denied_metadata_is_told_and_both_forms_of_an_address_are_one() {
        let mut flow = Flow {
            schema: String::new(),
            time: String::new(),
            node: String::new(),
            verdict: FlowVerdict::Denied,
            direction: "egress".to_owned(),
            hook: "socket".to_owned(),
            reason: "metadata".to_owned(),
            step: None,
            rule: None,
            endpoint: Some("t/a".to_owned()),
            src: FlowEnd::default(),
            dst: FlowEnd {
                ip: Some("::ffff:169.254.169.254".parse().unwrap()),
                ..FlowEnd::default()
            },
            metadata: Some(FlowMetadata {
                endpoint: "imds".to_owned(),
                clouds: Some("AWS, Azure".to_owned()),
                translated: false,
            }),
            transport: "tcp".to_owned(),
            length: 0,
        };
        let note = metadata_denied(&flow).unwrap();
        assert_eq!(note.about, "169.254.169.254");
        let text = "service at 169.254.169.254 (imds: AWS, Azure): the pod has no grant";
        assert!(note.text.contains(text), "{}", note.text);
        flow.metadata = Some(FlowMetadata {
            endpoint: "router".to_owned(),
            clouds: None,
            translated: true,
        });
        let text = metadata_denied(&flow).unwrap().text;
        assert!(
            text.contains("(router), to which a Service or another translation led it: "),
            "{text}"
        );
        flow.verdict = FlowVerdict::WouldDeny;
        assert_eq!(metadata_denied(&flow), None, "it got through");
        flow.verdict = FlowVerdict::Denied;
        flow.reason = "policy".to_owned();
        assert_eq!(metadata_denied(&flow), None);
    }
}
