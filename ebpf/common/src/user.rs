//! Marks the layouts as plain data for aya.

use crate::{
    catalogue, cell, config, connection, endpoint, event, identity, metadata, service, table,
};

macro_rules! pod {
    ($($layout:ty),* $(,)?) => {
        $(
            // SAFETY: the layout derives `FromBytes` and `IntoBytes`, which prove that it has no padding and
            // that every bit pattern is a value; it is `Copy` and has no references, hence `'static`.
            unsafe impl aya::Pod for $layout {}
        )*
    };
}

pod!(
    catalogue::IdentityEntry,
    catalogue::NameEntry,
    catalogue::TableEntry,
    cell::Cell,
    config::Config,
    connection::Connection,
    connection::FragmentWord,
    endpoint::EndpointRecord,
    endpoint::EndpointWord,
    endpoint::FarWord,
    endpoint::LocalWord,
    endpoint::SourceWord,
    event::Event,
    event::RateState,
    identity::IdentityWord,
    metadata::Grants,
    metadata::MetadataWord,
    metadata::PortKey,
    service::NodeWord,
    service::ServiceKey,
    table::ClassKey,
    table::ClassWord,
    table::Page,
);

macro_rules! pod_key {
    ($($key:ty),* $(,)?) => {
        $(
            // SAFETY: all fields are integers or arrays of bytes, so every bit pattern is a value; the assertions
            // beside the type prove that its size is the sum of its fields' sizes, so it has no padding; it is `Copy`.
            unsafe impl aya::Pod for $key {}
        )*
    };
}

pod_key!(
    connection::ConnectionKey<crate::V4>,
    connection::ConnectionKey<crate::V6>,
    connection::FragmentKey<crate::V4>,
    connection::FragmentKey<crate::V6>,
);
