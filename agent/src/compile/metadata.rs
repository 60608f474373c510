//! Which pods may reach the metadata service: those that ask, where asking counts, and those that are granted it.

use super::{Options, fact::bare_namespace};
use crate::model::{MetadataAccess, Pod, PodKey, Selector, Snapshot, Workloads};

/// The annotation that asks for access.
const ACCESS: &str = "metadata.ringfence.dev/access";
/// What kube2iam and kiam read.
const IAM_ROLE: &str = "iam.amazonaws.com/role";

/// Whose annotations count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AnnotatedPods {
    /// Every pod's.
    #[default]
    All,
    /// Nobody's.
    None,
    /// Those of pods in these namespaces.
    Namespaces(Selector),
}

/// True if this pod may reach the metadata service.
pub(super) fn granted(pod: &Pod, key: &PodKey, snapshot: &Snapshot, options: &Options) -> bool {
    let counts = match &options.annotated_pods {
        AnnotatedPods::All => true,
        AnnotatedPods::None => false,
        AnnotatedPods::Namespaces(selector) => match snapshot.namespaces.get(&key.namespace) {
            Some(namespace) => selector.matches(&namespace.labels),
            None => selector.matches(&bare_namespace(&key.namespace)),
        },
    };
    let asks = |annotation| {
        pod.metadata_requests
            .get(annotation)
            .is_some_and(|value| !refuses(value))
    };
    counts && (asks(ACCESS) || options.iam_role_annotation && asks(IAM_ROLE))
        || snapshot
            .grants
            .values()
            .any(|grant| is_for(grant, pod, key, snapshot))
}

/// True if a grant that has not ended is for this pod.
fn is_for(grant: &MetadataAccess, pod: &Pod, key: &PodKey, snapshot: &Snapshot) -> bool {
    let names = |subject: &Workloads| {
        let in_namespace = match snapshot.namespaces.get(&key.namespace) {
            Some(namespace) => subject.namespaces.matches(&namespace.labels),
            None => subject.namespaces.matches(&bare_namespace(&key.namespace)),
        };
        let account = pod.service_account.to_string();
        in_namespace
            && subject.pods.matches(&pod.labels)
            && (subject.accounts.is_empty() || subject.accounts.contains(&account))
    };
    let asked = || pod.metadata_requests.get(ACCESS) == Some(grant.name.as_str());
    !grant.expiry.is_over(snapshot.past)
        && (!grant.annotation_required || asked())
        && grant.subjects.iter().any(names)
}

/// True for a value that says no: whoever writes `false` does not mean "grant it".
fn refuses(value: &str) -> bool {
    let value = value.trim();
    value.is_empty()
        || ["false", "no", "none", "deny"]
            .iter()
            .any(|no| value.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expiry, Labels, Namespace, Operator, Origin, Requirement};

    #[test]
    fn an_annotation_grants_only_where_it_counts() {
        let platform = AnnotatedPods::Namespaces(Selector {
            requirements: [Requirement {
                key: "platform".into(),
                operator: Operator::Exists,
            }]
            .into(),
        });
        let mut snapshot = Snapshot::default();
        let labels = Labels::from([("platform".into(), "yes".into())]);
        let namespace = Namespace {
            name: "dns".into(),
            labels,
            ..Namespace::default()
        };
        snapshot.namespaces.insert("dns".into(), namespace);
        for (namespace, annotation, value, annotated_pods, iam_role_annotation, expect) in [
            ("shop", ACCESS, "true", AnnotatedPods::All, false, true),
            (
                "shop",
                ACCESS,
                "external-dns",
                AnnotatedPods::All,
                false,
                true,
            ),
            ("shop", ACCESS, "false", AnnotatedPods::All, false, false),
            ("shop", ACCESS, " ", AnnotatedPods::All, false, false),
            ("shop", ACCESS, "true", AnnotatedPods::None, true, false),
            ("shop", ACCESS, "true", platform.clone(), false, false),
            ("dns", ACCESS, "true", platform.clone(), false, true),
            ("shop", IAM_ROLE, "reader", AnnotatedPods::All, false, false),
            ("shop", IAM_ROLE, "reader", AnnotatedPods::All, true, true),
            ("shop", IAM_ROLE, "reader", platform.clone(), true, false),
            ("shop", "other", "true", AnnotatedPods::All, true, false),
        ] {
            let key = PodKey {
                namespace: namespace.into(),
                name: "a".into(),
            };
            let pod = Pod {
                metadata_requests: Labels::from([(annotation.into(), value.into())]),
                ..Pod::default()
            };
            let options = Options {
                annotated_pods,
                iam_role_annotation,
                ..Options::default()
            };
            assert_eq!(
                granted(&pod, &key, &snapshot, &options),
                expect,
                "{namespace} {annotation} {value} {options:?}"
            );
        }
    }

    #[test]
    fn a_grant_is_for_whom_it_names_until_it_ends() {
        let grant = MetadataAccess {
            name: "dns".into(),
            subjects: vec![Workloads {
                accounts: ["dns".to_owned()].into(),
                ..Workloads::default()
            }],
            annotation_required: true,
            expiry: Expiry(Some(100)),
            origin: Origin::default(),
        };
        let open = MetadataAccess {
            name: "open".into(),
            annotation_required: false,
            ..grant.clone()
        };
        for (grant, account, asks, past, expect) in [
            (&grant, "dns", "dns", 99, true),
            (&grant, "dns", "dns", 100, false),
            (&grant, "dns", "other", 0, false),
            (&grant, "other", "dns", 0, false),
            (&open, "dns", "", 0, true),
            (&open, "other", "", 0, false),
        ] {
            let mut snapshot = Snapshot {
                past,
                ..Snapshot::default()
            };
            snapshot.grants.insert(grant.name.clone(), grant.clone());
            let key = PodKey {
                namespace: "shop".into(),
                name: "a".into(),
            };
            let pod = Pod {
                service_account: account.into(),
                metadata_requests: Labels::from([(ACCESS.into(), asks.into())]),
                ..Pod::default()
            };
            let options = Options {
                annotated_pods: AnnotatedPods::None,
                iam_role_annotation: false,
                ..Options::default()
            };
            let found = granted(&pod, &key, &snapshot, &options);
            assert_eq!(found, expect, "{} {account} {asks} {past}", grant.name);
        }
    }
}
