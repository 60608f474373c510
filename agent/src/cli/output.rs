//! Printing data: tables for people, JSON and YAML for programs.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::failure::Failure;
use crate::args::{Format, OutputArgs};

/// What machines read begins with this `apiVersion`.
pub const API_VERSION: &str = "cli.ringfence.dev/v1";

/// A document for machines.
#[derive(Debug, Serialize)]
struct Document<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    data: &'a T,
}

/// A list for machines.
#[derive(Debug, Serialize)]
pub struct Items<'a, T> {
    /// Its elements.
    pub items: &'a [T],
}

/// Prints `data` as asked; `table` writes it for people.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print<T: Serialize>(
    output: &OutputArgs,
    kind: &'static str,
    data: &T,
    table: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let document = Document {
        api_version: API_VERSION,
        kind,
        data,
    };
    match output.output {
        Format::Table => table(&mut out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &document).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Format::Yaml => {
            let text = serde_saphyr::to_string(&document)
                .map_err(|error| Failure::new(format!("cannot write YAML: {error}")))?;
            writeln!(out, "{}", text.trim_end())?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A table without lines, as kubectl prints them.
#[must_use]
pub fn table<const N: usize>(output: &OutputArgs, header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !output.no_headers {
        table.set_header(header);
    }
    table
}

/// Writes a table without trailing blanks and without a margin.
///
/// # Errors
///
/// `out` cannot be written.
pub fn write_table(out: &mut dyn io::Write, table: &mut Table) -> io::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
