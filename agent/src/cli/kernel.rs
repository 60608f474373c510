//! The kernel's half of the agent's parts, out of its flags.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    compile::Compiler,
    config::Config,
    dataplane,
    run::{Compile, Open},
};

/// What the dataplane is told.
pub(super) fn options(config: &Config) -> dataplane::Options {
    dataplane::Options {
        bpffs: config.bpffs.clone(),
        cgroup_root: config.cgroup_root.clone(),
        node_cgroup: config.node_cgroup.clone(),
        run_dir: config.run_dir.clone(),
        limits: config.limits,
        mark: config.mark,
        event_rate: config.event_rate,
        audit_interval: config.audit_interval,
        attach: config.attach,
        firewall: config.firewall,
    }
}

/// Loads the programs, on the thread that will own them.
pub(super) fn opener(config: &Config) -> Open {
    let options = options(config);
    Box::new(move || Ok(Box::new(dataplane::open(&options)?)))
}

/// Compiles as the flags say, each state on from the one before.
pub(super) fn compiler(config: &Config) -> Compile {
    let compiler = Mutex::new(Compiler::new(config.compile_options()));
    Arc::new(move |snapshot| {
        // Whoever panicked has ended the agent.
        let mut compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
        compiler.update(snapshot)
    })
}
