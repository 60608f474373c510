//! The lab: a node made of network namespaces, with pods that have real sockets, for the demo, for tests and
//! for playing.
//!
//! A lab NAME has the network namespaces `rf-NAME-node`, `rf-NAME-outside` and one per pod; a cgroup per pod
//! below `rf-NAME`; a bpffs of its own; a process per namespace that serves ports and probes others'.
//!
//! **Invariants.** Nothing outside these names is changed: no address, route, parameter or mount of the machine
//! itself. Everything can be found again by the names alone, so a lab can be taken down whatever became of
//! its maker. Processes end with their maker unless the lab is kept.

pub mod args;
mod cgroup;
pub mod demo;
mod down;
mod exec;
pub mod interrupt;
pub mod names;
pub mod netns;
mod plan;
mod pod_process;
mod probe;
mod process;
pub mod spec;
mod start;
pub mod state;
mod status;
mod topology;
mod up;
pub mod wire;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

pub use down::leftovers;
pub use netns::inside as inside_netns;
pub use probe::{Actor, Outcome, Probe, Question};
pub use process::ProcessId;
pub use spec::{LabFile, LabPod, LabSpec, OutsideHost, OutsidePort};
pub use up::Lab;

use crate::{
    index,
    model::{Diagnostic, Snapshot},
    watch,
};
use args::{LabArgs, LabCommand};

/// Runs a `lab` verb. The demo compares what it measures with what `offline` says, if that is given.
pub fn run(args: LabArgs, offline: Option<&demo::Offline>) -> Result<ExitCode> {
    match args.command {
        LabCommand::Up { directory, name } => {
            interrupt::watch()?;
            let lab = Lab::up(&read(&directory, &name.name)?.0)?;
            let pod = lab
                .actors()
                .map(|(actor, _)| actor)
                .find(|actor| matches!(actor, Actor::Pod { .. }));
            lab.keep()?;
            println!(
                "The lab {} is up. `ringfence lab status` shows it.",
                name.name
            );
            if let Some(pod) = pod {
                println!(
                    "A shell in a pod: `ringfence lab exec --name {} {pod}`.",
                    name.name
                );
            }
        }
        LabCommand::Exec {
            name,
            whom,
            program,
        } => match exec::exec(&name.name, &whom, &program)? {},
        LabCommand::Down { name } => {
            Lab::down_by_name(&name.name)?;
            println!("Nothing is left of the lab {}.", name.name);
        }
        LabCommand::Status { name, output } => status::print(name.as_deref(), output)?,
        LabCommand::Demo {
            directory,
            name,
            keep,
        } => {
            let (spec, snapshot) = read(&directory, &name.name)?;
            return demo::run(&directory, &spec, &snapshot, offline, keep);
        }
        LabCommand::Pod => pod_process::run()?,
        LabCommand::Enter {
            cgroup,
            die_with_parent,
            program,
        } => match exec::enter(&cgroup, die_with_parent, &program)? {},
    }
    Ok(ExitCode::SUCCESS)
}

/// The lab that a directory describes, and its manifests.
fn read(directory: &Path, name: &str) -> Result<(LabSpec, Snapshot)> {
    let file = LabFile::read(directory)?;
    let manifests = vec![directory.join(spec::MANIFESTS)];
    let snapshot = match index::load(&manifests, watch::Options::default()) {
        Ok(snapshot) => snapshot,
        Err(found) => bail!(
            "{}",
            found
                .iter()
                .map(Diagnostic::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        ),
    };
    let binary = std::env::current_exe().context("cannot find the own binary")?;
    Ok((LabSpec::new(name, binary, &snapshot, file)?, snapshot))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read;

    #[test]
    fn the_example_is_a_lab_without_a_slip() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hybrid-cloud");
        let (spec, snapshot) = read(&example, "demo").unwrap();
        assert_eq!(
            spec.pods.len(),
            snapshot.pods.len(),
            "every pod has a network namespace"
        );
        let own: Vec<_> = snapshot
            .nodes
            .values()
            .flat_map(|node| &node.addresses)
            .collect();
        assert_eq!(
            own,
            spec.node.iter().collect::<Vec<_>>(),
            "the node is the same in both"
        );
        for pod in &spec.pods {
            assert_eq!(pod.addresses.len(), 2, "{} has both families", pod.actor());
            let policies = snapshot
                .policies
                .values()
                .filter(|policy| policy.key.namespace == pod.namespace);
            assert!(
                policies.count() >= 2,
                "{}: its namespace has a default and an exception",
                pod.actor()
            );
        }
    }
}
