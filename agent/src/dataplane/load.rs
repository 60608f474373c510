//! Loads the kernel half, over the pins that are there.

use std::borrow::Cow;

use super::{KernelError, Options, pins::Pins, spec};
use crate::diff::Limits;
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    programs::{Program, ProgramError, SchedClassifier},
};

/// The kernel half; empty in a build without it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ringfence.o"));

/// Names of the TC programs.
pub const CLASSIFIERS: [&str; 11] = [
    "from_pod",
    "to_pod",
    "from_host",
    "to_host",
    "from_host_l3",
    "to_host_l3",
    "from_tunnel",
    "from_tunnel_l3",
    LOOP_PROGRAM,
    INNER_PROGRAM,
    CLOCK_PROGRAM,
];
/// Names of the socket programs.
pub const SOCKET_PROGRAMS: [&str; 4] = ["connect4", "connect6", "sendmsg4", "sendmsg6"];

/// Name of the program behind the sockets of pods.
pub const PACKETS_PROGRAM: &str = "from_socket";

/// Name of the program on the node's `lo`.
pub const LOOP_PROGRAM: &str = "to_lo";

/// Name of the program that is asked for the time.
pub const CLOCK_PROGRAM: &str = "clock";

/// Name of the program on the node's inner devices: pairs of which it has both ends, ports of bonds.
pub const INNER_PROGRAM: &str = "to_inner";

/// Name of the program in front of the node's sockets.
pub const NODE_PROGRAM: &str = "to_node";

/// Loads maps and programs. Maps that are pinned are taken over, with the sizes that they have; these are returned.
///
/// # Errors
///
/// A pin that is not ours, or what the kernel refused.
pub fn load(options: &Options, pins: &Pins) -> Result<(Ebpf, Limits), KernelError> {
    let (mut ebpf, limits) = maps(options, pins)?;
    for name in wanted(options) {
        accept(&mut ebpf, name)?;
    }
    Ok((ebpf, limits))
}

/// The programs that these options ask for.
pub fn wanted(options: &Options) -> impl Iterator<Item = &'static str> {
    let sockets = options.cgroup_root.is_some();
    let node = options.node_cgroup.is_some();
    let of_cgroups = [PACKETS_PROGRAM].into_iter().chain(SOCKET_PROGRAMS);
    CLASSIFIERS
        .into_iter()
        .chain(of_cgroups.filter(move |_| sockets))
        .chain([NODE_PROGRAM].into_iter().filter(move |_| node))
}

/// Makes the maps, or takes over those that are pinned, with the sizes that they have; these are returned. No program is loaded.
///
/// # Errors
///
/// A pin that is not ours, or what the kernel refused.
pub fn maps(options: &Options, pins: &Pins) -> Result<(Ebpf, Limits), KernelError> {
    if OBJECT.is_empty() {
        return Err(KernelError::Other(
            "this binary was built without its kernel half\n  help: build it with `cargo xtask build`".to_owned(),
        ));
    }
    let mut limits = options.limits;
    let specs = spec::maps(&options.limits);
    let mut loader = EbpfLoader::new();
    loader.btf(None).verifier_log_level(VerifierLogLevel::STATS);
    for map in &specs {
        if let Some(found) = pins.check(map)? {
            adopt(&mut limits, map.name, found);
        }
        loader.map_max_entries(map.name, map.max_entries);
        loader.map_pin_path(map.name, Cow::Owned(pins.map(map.name)));
    }
    let ebpf = loader.load(OBJECT).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        KernelError::Other(format!(
            "cannot load the kernel half: {error}{}",
            source.unwrap_or_default()
        ))
    })?;
    Ok((ebpf, limits))
}

/// Has the kernel take one program.
///
/// # Errors
///
/// What the kernel has against it.
pub fn accept(ebpf: &mut Ebpf, name: &str) -> Result<(), KernelError> {
    let accepted = match ebpf.program_mut(name) {
        Some(Program::SchedClassifier(program)) => program.load(),
        Some(Program::CgroupSockAddr(program)) => program.load(),
        Some(Program::CgroupSkb(program)) => program.load(),
        _ => {
            return Err(KernelError::Other(format!(
                "the kernel half has no program {name}"
            )));
        }
    };
    accepted.map_err(|error| rejected(name, &error))
}

/// A program of the object by name.
///
/// # Errors
///
/// If the object has no such program of this type.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Other(format!("the kernel half has no program {name}")))?;
    program
        .try_into()
        .map_err(|error: ProgramError| KernelError::Other(format!("program {name}: {error}")))
}

/// A TC program of the object by name, to run it.
///
/// # Errors
///
/// If the object has no such program.
pub fn classifier<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a SchedClassifier, KernelError> {
    let program = ebpf
        .program(name)
        .ok_or_else(|| KernelError::Other(format!("the kernel half has no program {name}")))?;
    program
        .try_into()
        .map_err(|error: ProgramError| KernelError::Other(format!("program {name}: {error}")))
}

fn rejected(name: &str, error: &ProgramError) -> KernelError {
    let log = match error {
        ProgramError::LoadError { verifier_log, .. } => format!("\n{verifier_log}"),
        _ => String::new(),
    };
    KernelError::Other(format!(
        "the kernel does not accept the program {name}: {error}{log}\n  help: `cargo xtask doctor` says what this machine lacks"
    ))
}

/// A pinned map keeps its size, whatever the flags say now.
fn adopt(limits: &mut Limits, map: &str, found: u32) {
    let limit = match map {
        "ADDRESSES4" | "ADDRESSES6" => &mut limits.addresses,
        "NETWORKS4" | "NETWORKS6" => &mut limits.networks,
        "CLASSES" => &mut limits.classes,
        "CELLS" => &mut limits.cells,
        "PAGES" => &mut limits.pages,
        "RECORDS" => &mut limits.endpoints,
        "RULES" => &mut limits.rules,
        "IDENTITIES" => &mut limits.identities,
        "TABLES" => &mut limits.tables,
        "CONNECTIONS4" => &mut limits.connections,
        "SERVICES" => &mut limits.services,
        _ => return,
    };
    if *limit != found {
        tracing::warn!(
            map,
            entries = found,
            asked = *limit,
            "a pinned map keeps its size; another one takes effect after `ringfence detach`"
        );
        *limit = found;
    }
}
