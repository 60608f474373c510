//! What the runtime says of a pod, as `locate` has it. Pure.

use crate::{
    index::METADATA_REQUESTS,
    locate::Sandbox,
    model::{Labels, PodKey},
};

use super::messages::PodSandbox;

/// Labels that the kubelet adds to those of the pod.
const KUBELETS: [&str; 3] = [
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
];
/// Annotation by which the kubelet says where it has a pod from.
const SOURCE: &str = "kubernetes.io/config.source";

/// The pod's sandbox; `None` for a pod that has the node's network.
pub(super) fn read(pod: &PodSandbox) -> Option<(PodKey, Sandbox)> {
    let linux = pod.linux.as_ref()?;
    let network = linux
        .namespaces
        .iter()
        .find(|namespace| namespace.r#type == "network" && !namespace.path.is_empty())?;
    let mut labels = Labels::new();
    for (key, value) in &pod.labels {
        if !KUBELETS.contains(&key.as_str()) {
            labels.insert(key.clone(), value.clone());
        }
    }
    let mut metadata_requests = Labels::new();
    for key in METADATA_REQUESTS {
        if let Some(value) = pod.annotations.get(key).filter(|value| !value.is_empty()) {
            metadata_requests.insert(key.to_owned(), value.clone());
        }
    }
    let key = PodKey {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
    };
    let sandbox = Sandbox {
        id: pod.id.clone(),
        uid: pod.uid.clone(),
        labels,
        metadata_requests,
        addresses: pod
            .ips
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        netns: network.path.clone().into(),
        cgroup: Some(linux.cgroup_parent.clone()).filter(|parent| !parent.is_empty()),
        is_static: pod
            .annotations
            .get(SOURCE)
            .is_some_and(|source| source != "api"),
    };
    Some((key, sandbox))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::nri::messages::{LinuxNamespace, LinuxPodSandbox};

    pub fn pod(id: &str, name: &str) -> PodSandbox {
        let network = LinuxNamespace {
            r#type: "network".to_owned(),
            path: format!("/var/run/netns/{id}"),
        };
        PodSandbox {
            id: id.to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "shop".to_owned(),
            linux: Some(LinuxPodSandbox {
                cgroup_parent: "/kubepods/poduid".to_owned(),
                namespaces: vec![network],
            }),
            ..PodSandbox::default()
        }
    }

    #[test]
    fn labels_and_annotations_are_the_pods_own() {
        let mut event = pod("s1", "web");
        for (key, value) in [("app", "web"), ("io.kubernetes.pod.name", "web")] {
            event.labels.insert(key.to_owned(), value.to_owned());
        }
        for (key, value) in [
            ("metadata.ringfence.dev/access", "all"),
            ("kubernetes.io/config.source", "api"),
        ] {
            event.annotations.insert(key.to_owned(), value.to_owned());
        }
        event.ips = vec!["10.0.0.1".to_owned(), "no address".to_owned()];
        let (key, sandbox) = read(&event).unwrap();
        assert_eq!(key.to_string(), "shop/web");
        assert_eq!(sandbox.labels.iter().collect::<Vec<_>>(), [("app", "web")]);
        assert_eq!(sandbox.metadata_requests.len(), 1);
        assert_eq!(
            sandbox.addresses,
            ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(sandbox.netns.to_str(), Some("/var/run/netns/s1"));
        assert_eq!(sandbox.cgroup.as_deref(), Some("/kubepods/poduid"));
        assert!(!sandbox.is_static);

        event
            .annotations
            .insert(SOURCE.to_owned(), "file".to_owned());
        assert!(read(&event).unwrap().1.is_static);
    }

    #[test]
    fn a_pod_with_the_nodes_network_has_no_sandbox_of_ours() {
        let mut event = pod("s1", "web");
        event.linux.as_mut().unwrap().namespaces[0].path.clear();
        assert_eq!(read(&event), None);
        event.linux = None;
        assert_eq!(read(&event), None);
    }
}
