//! Findings in the format of code scanners: SARIF 2.1.0, of which a small part is needed.

use serde_json::{Value, json};

use crate::lint::{CODES, Finding};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log of one run.
pub(super) fn log(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = CODES
        .iter()
        .map(|code| {
            json!({
                "id": code.id,
                "shortDescription": { "text": code.title },
                "help": { "text": code.help },
                "defaultConfiguration": { "level": code.level.as_str() },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ringfence",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let what = &finding.what;
    let index = CODES.iter().position(|code| code.id == finding.code.id);
    let mut place =
        json!({ "logicalLocations": [{ "fullyQualifiedName": what.object, "kind": "object" }] });
    // Standard input is no file that anybody could be shown.
    if !what.origin.file.is_empty() && what.origin.file != "-" {
        let file = what.origin.file.as_str();
        place["physicalLocation"] = json!({
            "artifactLocation": { "uri": file.strip_prefix("./").unwrap_or(file) },
            "region": { "startLine": what.origin.line.max(1) },
        });
    }
    json!({
        "ruleId": finding.code.id,
        "ruleIndex": index,
        "level": finding.code.level.as_str(),
        "message": { "text": what.message },
        "locations": [place],
    })
}
