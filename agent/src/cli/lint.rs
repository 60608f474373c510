//! `ringfence lint`.

mod sarif;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use super::{
    failure::{Outcome, Plain},
    manifests, output,
};
use crate::{
    args::{Format, LintArgs, LintFormat, OutputArgs},
    lint::{Finding, Level, count, lint},
    watch::Excerpts,
};

/// A finding, as `-o json` prints it.
#[derive(Serialize)]
struct Item<'a> {
    code: &'static str,
    level: Level,
    title: &'static str,
    message: &'a str,
    object: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    file: &'a str,
    line: usize,
    help: Vec<&'a str>,
}

pub(super) fn run(args: &LintArgs) -> Outcome {
    let (snapshot, details) = manifests::load_with_details(&args.manifests)?;
    let findings = lint(&snapshot, &details);
    match args.output {
        LintFormat::Sarif => {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &sarif::log(&findings))
                .map_err(io::Error::from)?;
            writeln!(out)?;
        }
        LintFormat::Json | LintFormat::Table => {
            let items: Vec<Item<'_>> = findings.iter().map(item).collect();
            let output = OutputArgs {
                output: match args.output {
                    LintFormat::Json => Format::Json,
                    LintFormat::Table | LintFormat::Sarif => Format::Table,
                },
                no_headers: false,
            };
            let data = output::Items { items: &items };
            output::print(&output, "Findings", &data, |out| write(out, &findings))?;
        }
    }
    let errors = count(&findings).get(&Level::Error).copied();
    Ok(ExitCode::from(u8::from(errors.is_some())))
}

fn item(finding: &Finding) -> Item<'_> {
    let what = &finding.what;
    Item {
        code: finding.code.id,
        level: finding.code.level,
        title: finding.code.title,
        message: &what.message,
        object: &what.object,
        field: &what.field,
        file: &what.origin.file,
        line: what.origin.line,
        help: help(finding),
    }
}

/// What to do, the most particular first.
fn help(finding: &Finding) -> Vec<&str> {
    let own = finding.help.as_deref();
    own.into_iter().chain([finding.code.help]).collect()
}

fn write(out: &mut dyn io::Write, findings: &[Finding]) -> io::Result<()> {
    let mut excerpts = Excerpts::default();
    for finding in findings {
        let what = &finding.what;
        let code = finding.code;
        writeln!(
            out,
            "{}[{}]: {}",
            code.level.as_str(),
            code.id,
            Plain(&what.message)
        )?;
        let field = if what.field.is_empty() { "" } else { ": " };
        writeln!(
            out,
            "  --> {}: {}{field}{}",
            what.origin,
            Plain(&what.object),
            Plain(&what.field)
        )?;
        for line in excerpts.of(what).iter().flat_map(|it| it.lines()) {
            writeln!(out, "   {}", Plain(line))?;
        }
        for help in help(finding) {
            writeln!(out, "   = help: {}", Plain(help))?;
        }
    }
    let count = count(findings);
    let each: Vec<String> = count
        .iter()
        .map(|(level, number)| many(*number, level.as_str()))
        .collect();
    match each.as_slice() {
        [] => writeln!(out, "no findings"),
        each => writeln!(
            out,
            "{} ({})",
            many(findings.len(), "finding"),
            each.join(", ")
        ),
    }
}

fn many(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
