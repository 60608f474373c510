//! What is wrong with an object, and the rules for names, labels, addresses and ports.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    model::{Diagnostic, Labels, Protocol},
    watch::{Kind, Read},
};

/// Collects what is wrong with an object.
pub(super) struct Findings<'a> {
    pub read: &'a Read,
    found: Vec<Diagnostic>,
}

// === impl Findings ===

impl<'a> Findings<'a> {
    pub const fn new(read: &'a Read) -> Self {
        Self {
            read,
            found: Vec::new(),
        }
    }

    pub fn report(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        self.found.push(Diagnostic {
            origin: self.read.place(&field),
            object: self.read.key.to_string(),
            field,
            message: message.into(),
        });
    }

    /// Reports something that is allowed, and not enforced yet.
    pub fn unsupported(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        self.report(field, format!("{}: {message}", Diagnostic::NOT_SUPPORTED));
    }

    /// Reports an error; gives what is right.
    pub fn check<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.report(field, message)).ok()
    }

    /// All that was found, as an error.
    pub fn none(self) -> Result<(), Vec<Diagnostic>> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(self.found)
        }
    }
}

/// Names, namespace and labels.
pub(super) fn identity(findings: &mut Findings<'_>) {
    let read = findings.read;
    let key = &read.key;
    let metadata = read.object.metadata();
    let name = match key.kind {
        Kind::Namespace | Kind::Service => dns_label(&key.name),
        _ => dns_subdomain(&key.name),
    };
    findings.check("metadata.name", name);
    if key.kind.is_namespaced() {
        findings.check("metadata.namespace", dns_label(&key.namespace));
    } else if metadata
        .namespace
        .as_ref()
        .is_some_and(|namespace| !namespace.is_empty())
    {
        let message = format!("a {} is in no namespace; leave this out", key.kind.as_str());
        findings.report("metadata.namespace", message);
    }
    for (label, value) in metadata.labels.iter().flatten() {
        let field = format!("metadata.labels.{label}");
        findings.check(&field, label_key(label));
        findings.check(&field, label_value(value));
    }
}

/// Labels of an object.
pub(super) fn labels(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default().into()
}

/// The value of an annotation.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata
        .annotations
        .as_ref()
        .and_then(|all: &BTreeMap<_, _>| all.get(key))
        .map(String::as_str)
}

/// A DNS label, as RFC 1123 has it.
pub(super) fn dns_label(name: &str) -> Result<(), String> {
    if name.len() <= 63 && is_dns_label(name) {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" is no DNS label: at most 63 of a-z, 0-9 and `-`, beginning and ending with a \
         letter or digit"
    ))
}

/// A DNS name, as RFC 1123 has it.
pub(super) fn dns_subdomain(name: &str) -> Result<(), String> {
    if name.len() <= 253 && name.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" is no DNS name: at most 253 of a-z, 0-9, `-` and `.`, each part beginning and \
         ending with a letter or digit"
    ))
}

fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// A label's key: a name, with a DNS name and a slash before it if need be.
pub(super) fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if is_label_name(name) && prefix.is_none_or(|prefix| dns_subdomain(prefix).is_ok()) {
        return Ok(());
    }
    Err(format!(
        "\"{key}\" is no label key: at most 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, beginning and \
         ending with a letter or digit; a DNS name and `/` may stand before it"
    ))
}

/// A label's value.
pub(super) fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_label_name(value) {
        return Ok(());
    }
    Err(format!(
        "\"{value}\" is no label value: empty, or at most 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, \
         beginning and ending with a letter or digit"
    ))
}

fn is_label_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 63 && name.bytes().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// A port's name.
pub(super) fn port_name(name: &str) -> Result<String, String> {
    if name.len() <= 15
        && is_dns_label(name)
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
    {
        return Ok(name.to_owned());
    }
    let number = if name.parse::<u16>().is_ok() {
        "; a number is written without quotes"
    } else {
        ""
    };
    Err(format!(
        "\"{name}\" is no port name: at most 15 of a-z, 0-9 and single `-`, with at least one letter, \
         beginning and ending with a letter or digit{number}"
    ))
}

/// A port's number.
pub(super) fn port_number(number: i32) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{number} is no port; allowed are 1 to 65535")),
    }
}

/// A protocol; TCP if there is none.
pub(super) fn protocol(name: Option<&str>) -> Result<Protocol, String> {
    let Some(name) = name else {
        return Ok(Protocol::Tcp);
    };
    Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.as_str() == name)
        .ok_or_else(|| format!("unknown protocol \"{name}\"; allowed are TCP, UDP and SCTP"))
}

/// An address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => Err(format!(
            "\"{text}\" is an IPv4 address in IPv6 clothes; write it as IPv4"
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(format!("\"{text}\" is no IPv4 or IPv6 address")),
    }
}
