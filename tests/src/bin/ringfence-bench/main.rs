//! What Ringfence costs: `cargo xtask bench [--quick] [--json FILE]`, and what
//! it costs in large clusters with `--scale`. Ratios within one run carry to other machines;
//! nanoseconds do not.

mod edits;
mod layers;
mod packets;
mod paths;
mod raw;
mod scale;
mod table;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let mut quick = false;
    let mut scale = false;
    let (mut scale_of, mut zones_of) = (None, None);
    let mut json = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => quick = true,
            "--json" => json = Some(words.next().context("--json wants a FILE")?),
            "--scale" => scale = true,
            "--scale-of" => {
                let pods = words.next().context("--scale-of wants a number of pods")?;
                scale_of = Some(pods.parse().context("--scale-of wants a number of pods")?);
            }
            "--zones-of" => {
                let zones = words.next().context("--zones-of wants a number of zones")?;
                zones_of = Some(
                    zones
                        .parse()
                        .context("--zones-of wants a number of zones")?,
                );
            }
            "--connects" => return layers::connect(),
            other => bail!("unknown argument {other}\n  help: [--scale] [--quick] [--json FILE]"),
        }
    }
    if let Some(pods) = scale_of {
        return scale::one(pods, quick);
    }
    if let Some(zones) = zones_of {
        return scale::zoned(zones, quick);
    }
    let mut tables = Vec::new();
    let mut show = |more: Vec<table::Table>| {
        for table in more {
            table.print();
            tables.push(table.json());
        }
    };
    if scale {
        show(scale::run(quick)?);
    } else {
        show(packets::run(if quick { 3 } else { 15 })?);
        show(layers::run(if quick { 3 } else { 15 })?);
        show(paths::run(if quick { 2 } else { 6 })?);
        show(edits::run(if quick { 10 } else { 100 })?);
    }
    if let Some(file) = json {
        std::fs::write(&file, serde_json::to_string_pretty(&tables)?)
            .with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}
