//! The `lab` verbs, as typed.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::spec;

/// Pods made of network namespaces, to try things out on one machine. Needs root.
#[derive(Clone, Debug, Args)]
pub struct LabArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What to do with a lab.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Build a lab from a directory with `lab.yaml` and `manifests`, and leave it up
    Up {
        /// The directory, such as deploy/examples/hybrid-cloud
        directory: PathBuf,
        /// The lab's name
        #[command(flatten)]
        name: Name,
    },
    /// Run a program in a pod's network namespace and cgroup
    Exec {
        /// The lab's name
        #[command(flatten)]
        name: Name,
        /// A pod (NAMESPACE/NAME, or NAME), an outside host, `node` or `outside`
        whom: String,
        /// The program and its arguments; a shell if absent
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// Take a lab down, or what is left of it
    Down {
        /// The lab's name
        #[command(flatten)]
        name: Name,
    },
    /// Show the labs that are up, who is in them, and where
    Status {
        /// Only this lab
        #[arg(long)]
        name: Option<String>,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show what policy does: a lab without and with it, and the reasons of denials
    Demo {
        /// The directory, such as deploy/examples/hybrid-cloud
        directory: PathBuf,
        /// The lab's name
        #[command(flatten)]
        name: Name,
        /// Leave the lab up, with the agent in it
        #[arg(long)]
        keep: bool,
    },
    /// Be a pod
    #[command(hide = true)]
    Pod,
    /// Become a program in a cgroup
    #[command(hide = true)]
    Enter {
        /// The cgroup
        #[arg(long)]
        cgroup: PathBuf,
        /// Be killed when the parent ends
        #[arg(long)]
        die_with_parent: bool,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub struct Name {
    /// The lab's name: lowercase letters and digits
    #[arg(long, default_value = spec::DEFAULT_NAME)]
    pub name: String,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}
