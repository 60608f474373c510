//! Label selectors.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::check::{Findings, label_key, label_value};
use crate::model::{Operator, Requirement, Selector, Set};

/// Parses a selector.
pub(super) fn convert(
    selector: &LabelSelector,
    field: &str,
    findings: &mut Findings<'_>,
) -> Selector {
    let mut requirements = BTreeSet::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        let at = format!("{field}.matchLabels.{key}");
        findings.check(&at, label_key(key));
        findings.check(&at, label_value(value));
        let operator = Operator::In([value.clone()].into());
        requirements.insert(Requirement {
            key: key.clone(),
            operator,
        });
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let at = format!("{field}.matchExpressions[{index}]");
        findings.check(&format!("{at}.key"), label_key(&expression.key));
        let values: Set<String> = expression.values.iter().flatten().cloned().collect();
        for (number, value) in expression.values.iter().flatten().enumerate() {
            findings.check(&format!("{at}.values[{number}]"), label_value(value));
        }
        let operator = match (expression.operator.as_str(), values.is_empty()) {
            ("In", false) => Operator::In(values),
            ("NotIn", false) => Operator::NotIn(values),
            ("Exists", true) => Operator::Exists,
            ("DoesNotExist", true) => Operator::DoesNotExist,
            (operator @ ("In" | "NotIn"), true) => {
                findings.report(format!("{at}.values"), format!("{operator} needs values"));
                continue;
            }
            (operator @ ("Exists" | "DoesNotExist"), false) => {
                let message =
                    format!("{operator} takes no values; leave them out, or use In or NotIn");
                findings.report(format!("{at}.values"), message);
                continue;
            }
            (operator, _) => {
                let message = format!(
                    "unknown operator \"{operator}\"; allowed are In, NotIn, Exists and DoesNotExist"
                );
                findings.report(format!("{at}.operator"), message);
                continue;
            }
        };
        requirements.insert(Requirement {
            key: expression.key.clone(),
            operator,
        });
    }
    Selector {
        requirements: requirements.into(),
    }
}
