//! Which pods may reach the metadata service: those that ask, where asking counts.

use super::{Options, fact::bare_namespace};
use crate::model::{Pod, PodKey, Selector, Snapshot};

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
    use crate::model::{Labels, Namespace, Operator, Requirement};

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
            };
            assert_eq!(
                granted(&pod, &key, &snapshot, &options),
                expect,
                "{namespace} {annotation} {value} {options:?}"
            );
        }
    }
}
