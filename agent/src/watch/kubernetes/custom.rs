//! Resources that a CustomResourceDefinition defines: every field of them counts, and a cluster may not have them.

use std::marker::PhantomData;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{Event, Kind, manifest},
    resource::{Metadata, Resource},
};

/// A kind that a definition defines.
pub(super) trait Defined: Clone + Send + Sync + 'static {
    /// What its objects are.
    const KIND: Kind;
    /// Its name in paths and in roles.
    const PLURAL: &'static str;
    /// Its API group.
    const GROUP: &'static str = "ringfence.dev";
    /// Its version.
    const VERSION: &'static str = "v1alpha1";
}

macro_rules! defined {
    ($($name:ident $plural:literal)*) => {
        $(
            #[derive(Clone, Debug)]
            pub(super) struct $name;

            impl Defined for $name {
                const KIND: Kind = Kind::$name;
                const PLURAL: &'static str = $plural;
            }
        )*
    };
}

defined! {
    SecurityZone "securityzones"
    ZonePolicy "zonepolicies"
    TenantIsolation "tenantisolations"
    MetadataFirewall "metadatafirewalls"
    MetadataAccess "metadataaccesses"
}

#[derive(Clone, Debug)]
pub(super) struct ClusterNetworkPolicy;

impl Defined for ClusterNetworkPolicy {
    const KIND: Kind = Kind::ClusterNetworkPolicy;
    const PLURAL: &'static str = "clusternetworkpolicies";
    const GROUP: &'static str = "policy.networking.k8s.io";
    const VERSION: &'static str = "v1alpha2";
}

/// An object of a defined kind, as it came.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Custom<D> {
    metadata: Metadata,
    #[serde(flatten)]
    rest: Map<String, Value>,
    #[serde(skip)]
    kind: PhantomData<D>,
}

impl<D: Defined> Resource for Custom<D> {
    const KIND: Kind = D::KIND;
    const PLURAL: &'static str = D::PLURAL;
    const GROUP: &'static str = D::GROUP;
    const VERSION: &'static str = D::VERSION;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let key = self.key();
        let Self {
            metadata, mut rest, ..
        } = self;
        // What is said about it is not part of it.
        rest.remove("status");
        manifest::custom(key, metadata.convert(), &Value::Object(rest))
    }
}
