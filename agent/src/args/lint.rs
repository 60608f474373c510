//! Flags of `ringfence lint`.

use clap::{Args as ClapArgs, ValueEnum};

use super::Manifests;

/// Flags of `ringfence lint`.
#[derive(Clone, Debug, ClapArgs)]
pub struct LintArgs {
    /// What is in force.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = LintFormat::Table)]
    pub output: LintFormat,
}

/// How to print findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    #[default]
    Table,
    /// JSON with apiVersion and kind.
    Json,
    /// SARIF 2.1.0, for what shows findings beside changes.
    Sarif,
}
