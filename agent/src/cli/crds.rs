//! `ringfence crds`.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use super::failure::{Failure, Outcome};
use crate::{api, args::CrdsArgs};

pub(super) fn run(args: &CrdsArgs) -> Outcome {
    let Some(directory) = &args.directory else {
        let definitions = api::definitions();
        let definitions: Vec<String> = definitions.iter().map(api::yaml).collect();
        write!(io::stdout().lock(), "{}", definitions.join("---\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let place = directory.display();
    let failed = |error: io::Error| {
        Failure::new(format!("cannot write the definitions: {error}")).at(place.to_string())
    };
    for definition in api::definitions() {
        let names = &definition.spec.names;
        for (folder, name, text) in [
            (
                "crds",
                format!("{}.yaml", names.plural),
                api::yaml(&definition),
            ),
            (
                "reference",
                format!("{}.md", names.kind.to_lowercase()),
                api::markdown(&definition),
            ),
            (
                "schemas",
                format!("{}.json", names.kind.to_lowercase()),
                api::json_schema(&definition),
            ),
        ] {
            let folder = directory.join(folder);
            fs::create_dir_all(&folder).map_err(failed)?;
            fs::write(folder.join(name), text).map_err(failed)?;
        }
    }
    say!(
        "definitions (crds), pages about them (reference) and JSON schemas (schemas) are in {place}"
    );
    Ok(ExitCode::SUCCESS)
}
