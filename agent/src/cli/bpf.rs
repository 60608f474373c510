//! `ringfence bpf`.

use std::process::ExitCode;

use super::{cells, client::Client, failure::Outcome, output};
use crate::{
    admin::api::{List, Object},
    args::{BpfArgs, BpfVerb, ReadArgs},
};

pub(super) fn run(args: BpfArgs) -> Outcome {
    match args.verb {
        BpfVerb::Show {
            endpoint: None,
            cell: None,
            read,
        } => show(&read),
        BpfVerb::Show {
            endpoint,
            cell,
            read,
        } => cells::elements(&read, endpoint, cell),
    }
}

fn show(args: &ReadArgs) -> Outcome {
    let list: List<Object> = Client::new(&args.at)?.get("/v1/objects")?;
    output::print(&args.output, "ObjectList", &list, |out| {
        let mut table = output::table(&args.output, ["PIN", "TYPE", "ENTRIES/MAX", "MEM", "ID"]);
        for object in &list.items {
            let fill = match (object.kind.as_str(), object.entries) {
                ("map", Some(entries)) => format!("{entries}/{}", object.max_entries),
                ("map", None) => format!("-/{}", object.max_entries),
                _ => String::new(),
            };
            table.add_row([
                object.pin.clone(),
                if object.kind == "map" {
                    object.object_type.clone()
                } else {
                    format!("{} {}", object.kind, object.object_type)
                },
                fill,
                object.memory.map(size).unwrap_or_default(),
                object.id.to_string(),
            ]);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Bytes with a unit, as `du -h` rounds: up, one digit below ten.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_024 => return format!("{bytes}B"),
        1_024..1_048_576 => (1_024, "K"),
        1_048_576..1_073_741_824 => (1_048_576, "M"),
        _ => (1_073_741_824, "G"),
    };
    match bytes.saturating_mul(10).div_ceil(unit) {
        tenths @ 0..100 => format!("{}.{}{name}", tenths / 10, tenths % 10),
        _ => format!("{}{name}", bytes.div_ceil(unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (900, "900B"),
            (1024, "1.0K"),
            (1100, "1.1K"),
            (102_400, "100K"),
            (5 << 30, "5.0G"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
