//! The messages of NRI (`nri.pkg.api.v1alpha1`) that the gate needs, with the fields that it reads.

use std::collections::HashMap;

/// The service that the runtime offers to plugins.
pub const RUNTIME: &str = "nri.pkg.api.v1alpha1.Runtime";
/// The service that plugins offer to the runtime.
pub const PLUGIN: &str = "nri.pkg.api.v1alpha1.Plugin";

/// Event numbers; a subscription has bit `number - 1`.
pub mod event {
    /// A pod's network is there, its containers are not.
    pub const RUN_POD_SANDBOX: i32 = 1;
    /// A pod's containers have been stopped.
    pub const STOP_POD_SANDBOX: i32 = 2;
    /// A pod is gone.
    pub const REMOVE_POD_SANDBOX: i32 = 3;
    /// A container is to be made in a pod.
    pub const CREATE_CONTAINER: i32 = 4;
}

/// Nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// A plugin says who it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegisterPluginRequest {
    /// Name.
    #[prost(string, tag = "1")]
    pub plugin_name: String,
    /// Two digits: plugins are called in this order.
    #[prost(string, tag = "2")]
    pub plugin_idx: String,
}

/// The runtime says who it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigureRequest {
    /// Name of the runtime.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// Milliseconds after which it gives up a request; 0: it does not say.
    #[prost(int64, tag = "5")]
    pub request_timeout: i64,
}

/// What the plugin wants to be told of.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigureResponse {
    /// One bit for each event.
    #[prost(int32, tag = "2")]
    pub events: i32,
}

/// What runs already.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SynchronizeRequest {
    /// Pods.
    #[prost(message, repeated, tag = "1")]
    pub pods: Vec<PodSandbox>,
    /// More follow.
    #[prost(bool, tag = "3")]
    pub more: bool,
}

/// The plugin has understood.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SynchronizeResponse {
    /// It takes more, if there are more.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

/// `RunPodSandbox`, `StopPodSandbox`, `RemovePodSandbox`; and `CreateContainer`, of which the pod alone matters. The
/// answer to all is [`Empty`]: nothing is changed about a container.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodSandbox>,
}

/// How older runtimes tell of the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StateChangeEvent {
    /// A number of [`event`].
    #[prost(int32, tag = "1")]
    pub event: i32,
    /// Which.
    #[prost(message, optional, tag = "2")]
    pub pod: Option<PodSandbox>,
}

/// A pod.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandbox {
    /// The runtime's name for it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// UID.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Namespace.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// Labels, the kubelet's own among them.
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
    /// Annotations.
    #[prost(map = "string, string", tag = "6")]
    pub annotations: HashMap<String, String>,
    /// What only Linux has.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandbox>,
    /// Addresses; older runtimes do not tell them.
    #[prost(string, repeated, tag = "10")]
    pub ips: Vec<String>,
}

/// What only Linux has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxPodSandbox {
    /// Cgroup of the pod, as the kubelet names it.
    #[prost(string, tag = "3")]
    pub cgroup_parent: String,
    /// Namespaces.
    #[prost(message, repeated, tag = "5")]
    pub namespaces: Vec<LinuxNamespace>,
}

/// A namespace.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxNamespace {
    /// `network`, `ipc` and so on.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Its file; empty for one that nobody else can enter.
    #[prost(string, tag = "2")]
    pub path: String,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn fields_have_the_numbers_of_the_api() {
        let pod = PodSandbox {
            id: "a".to_owned(),
            name: "b".to_owned(),
            uid: "c".to_owned(),
            namespace: "d".to_owned(),
            linux: Some(LinuxPodSandbox {
                cgroup_parent: "e".to_owned(),
                namespaces: vec![LinuxNamespace {
                    r#type: "f".to_owned(),
                    path: "g".to_owned(),
                }],
            }),
            ips: vec!["h".to_owned()],
            ..PodSandbox::default()
        };
        let expect = b"\x0a\x01a\x12\x01b\x1a\x01c\x22\x01d\x42\x0b\x1a\x01e\x2a\x06\x0a\x01f\x12\x01g\x52\x01h";
        assert_eq!(pod.encode_to_vec(), expect);
        let configured = ConfigureResponse { events: 7 };
        assert_eq!(configured.encode_to_vec(), b"\x10\x07");
        // A field that the gate does not read is none of its business.
        let request = ConfigureRequest::decode(&b"\x0a\x01x\x12\x01y\x28\xd0\x0f\x32\x01z"[..]);
        let request = request.unwrap();
        assert_eq!(
            (request.runtime_name.as_str(), request.request_timeout),
            ("y", 2000)
        );
    }
}
