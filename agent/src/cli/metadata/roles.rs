//! Which roles kube2iam and kiam let the pods of a namespace have, by the annotations of the namespace. Pure.

use regex::Regex;

use crate::{args::RoleFormat, index::IamRoles};

/// Who serves pods with credentials, and how he reads a namespace's annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broker {
    /// kube2iam; told with `--namespace-restriction-format`.
    Kube2iam(RoleFormat),
    /// kiam.
    Kiam,
}

impl Broker {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kube2iam(_) => "kube2iam",
            Self::Kiam => "kiam",
        }
    }

    /// The annotation of namespaces that narrows what their pods may have.
    pub(super) const fn annotation(self) -> &'static str {
        match self {
            Self::Kube2iam(_) => "iam.amazonaws.com/allowed-roles",
            Self::Kiam => "iam.amazonaws.com/permitted",
        }
    }

    /// What a namespace says there.
    pub(super) fn says(self, roles: Option<&IamRoles>) -> Option<&str> {
        let roles = roles?;
        match self {
            Self::Kube2iam(_) => roles.allowed.as_deref(),
            Self::Kiam => roles.permitted.as_deref(),
        }
    }

    /// Why a pod with this role gets nothing in a namespace, if it does not. What cannot be read permits nothing, as there.
    pub(super) fn refuses(self, roles: Option<&IamRoles>, role: &str) -> Option<String> {
        let key = self.annotation();
        let says = self.says(roles);
        let (passes, means) = match (self, says) {
            // Whoever runs kube2iam with --namespace-restrictions has annotated all namespaces that get something.
            (Self::Kube2iam(_), None) => return None,
            (Self::Kube2iam(format), Some(list)) => {
                let Ok(list) = serde_json::from_str::<Vec<String>>(list) else {
                    return Some(format!("{key} of its namespace is no JSON list of roles"));
                };
                (
                    list.iter().any(|one| is_allowed(format, one, role)),
                    "does not list",
                )
            }
            (Self::Kiam, None | Some("")) => {
                return Some(format!(
                    "its namespace has no {key}, without which kiam permits no role"
                ));
            }
            (Self::Kiam, Some(pattern)) => {
                // The whole name, as there: bars in it go further than the anchors.
                let Ok(pattern) = Regex::new(&format!("^{pattern}$")) else {
                    return Some(format!(
                        "{key} of its namespace is no regular expression: {pattern}"
                    ));
                };
                (pattern.is_match(role), "does not match")
            }
        };
        (!passes).then(|| format!("{key} of its namespace {means} role {role}"))
    }
}

/// True if an entry of kube2iam's list allows a role. It puts its base ARN, which is not known here, before whatever is no ARN: so two ARNs
/// are compared whole, and else what is behind the account.
fn is_allowed(format: RoleFormat, entry: &str, role: &str) -> bool {
    let (entry, role) = if is_arn(entry) && is_arn(role) {
        (entry, role)
    } else {
        (bare(entry), bare(role))
    };
    let pattern = match format {
        RoleFormat::Glob => {
            let parts: Vec<String> = entry.split('*').map(regex::escape).collect();
            format!("^{}$", parts.join(".*"))
        }
        RoleFormat::Regexp => entry.to_owned(),
    };
    Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(role))
}

fn is_arn(role: &str) -> bool {
    role.starts_with("arn:")
}

/// What is behind the account of an ARN; what is no ARN as it stands.
fn bare(role: &str) -> &str {
    match role.split_once(":role/") {
        Some((account, name)) if is_arn(account) => name,
        _ => role.strip_prefix('/').unwrap_or(role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOB: Broker = Broker::Kube2iam(RoleFormat::Glob);
    const REGEXP: Broker = Broker::Kube2iam(RoleFormat::Regexp);

    #[test]
    fn each_reads_his_own_annotation_as_he_does() {
        for (broker, says, role, passes) in [
            (GLOB, None, "web", true),
            (GLOB, Some(r#"["web"]"#), "web", true),
            (GLOB, Some(r#"["web"]"#), "webs", false),
            (GLOB, Some(r#"["w*"]"#), "web", true),
            (GLOB, Some(r#"["w.b"]"#), "web", false),
            (GLOB, Some("[]"), "web", false),
            (GLOB, Some("web"), "web", false),
            (GLOB, Some(r#"["arn:aws:iam::1:role/web"]"#), "web", true),
            (GLOB, Some(r#"["web"]"#), "arn:aws:iam::1:role/web", true),
            (
                GLOB,
                Some(r#"["arn:aws:iam::1:role/*"]"#),
                "arn:aws:iam::1:role/path/web",
                true,
            ),
            (
                GLOB,
                Some(r#"["arn:aws:iam::1:role/*"]"#),
                "arn:aws:iam::2:role/web",
                false,
            ),
            (REGEXP, Some(r#"["^w.b$"]"#), "web", true),
            (REGEXP, Some(r#"["^w.b$"]"#), "webs", false),
            (REGEXP, Some(r#"["("]"#), "web", false),
            (Broker::Kiam, None, "web", false),
            (Broker::Kiam, Some(""), "web", false),
            (Broker::Kiam, Some("w.*"), "web", true),
            // The whole name has to match.
            (Broker::Kiam, Some("w"), "web", false),
            (Broker::Kiam, Some(".*"), "arn:aws:iam::1:role/web", true),
            (Broker::Kiam, Some("("), "web", false),
        ] {
            let says = says.map(str::to_owned);
            let roles = match broker {
                Broker::Kiam => IamRoles {
                    permitted: says.clone(),
                    // Not its business.
                    allowed: Some("[]".into()),
                },
                Broker::Kube2iam(_) => IamRoles {
                    permitted: Some("^$".into()),
                    allowed: says.clone(),
                },
            };
            let found = broker.refuses(Some(&roles), role);
            assert_eq!(
                found.is_none(),
                passes,
                "{broker:?} {says:?} {role}: {found:?}"
            );
        }
    }
}
