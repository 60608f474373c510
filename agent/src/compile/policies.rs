//! Objects that are about somebody, compiled.

use std::{collections::BTreeMap, sync::Arc};

use ringfence_common::Direction;

use super::{
    fact::Facts,
    layer::Standing,
    names::RuleNames,
    part::{Part, PartId, Parts},
};
use crate::model::{Diagnostic, PolicyKey};

/// Both directions, in the order of their numbers.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// What is compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// What zones and tenants say to subjects that stand alike with them.
    Layer(Standing),
    /// What zones say to the node itself.
    Node(Standing),
    /// A `ClusterNetworkPolicy`.
    Cluster(String),
    /// A `NetworkPolicy`.
    Policy(PolicyKey),
}

/// A source, compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    /// What it is.
    pub(super) source: Source,
    /// Its parts of each direction.
    pub(super) parts: [Vec<PartId>; 2],
    /// What is wrong with it.
    diagnostics: Vec<Diagnostic>,
}

/// What compiles a source for a direction.
pub(super) trait Compile {
    /// Its parts, strongest tier first.
    fn parts(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Part>;
}

/// Compiled sources. Only what selects somebody is among them, so that nothing else appears in any signature.
#[derive(Debug, Default)]
pub(super) struct Policies {
    compiled: BTreeMap<Source, Arc<Compiled>>,
    /// Those that are not used any more, until [`Self::settle`].
    gone: Vec<Arc<Compiled>>,
}

impl Policies {
    /// The source has changed or is gone: what was compiled of it is not used any more.
    pub(super) fn forget(&mut self, source: &Source) {
        self.gone.extend(self.compiled.remove(source));
    }

    /// The same of what zones and tenants say.
    pub(super) fn forget_layer(&mut self) {
        let layers: Vec<Source> = self
            .compiled
            .keys()
            .take_while(|source| matches!(source, Source::Layer(_) | Source::Node(_)))
            .cloned()
            .collect();
        for source in layers {
            self.forget(&source);
        }
    }

    /// The source, compiled if it was not.
    pub(super) fn get(
        &mut self,
        source: &Source,
        compile: &impl Compile,
        parts: &mut Parts,
        facts: &mut Facts,
        names: &mut RuleNames,
    ) -> Arc<Compiled> {
        if let Some(known) = self.compiled.get(source) {
            return Arc::clone(known);
        }
        let mut diagnostics = Vec::new();
        let of = DIRECTIONS.map(|direction| {
            let of = compile.parts(direction, facts, names, &mut diagnostics);
            of.into_iter()
                .map(|part| parts.add(part, facts, names))
                .collect()
        });
        let compiled = Arc::new(Compiled {
            source: source.clone(),
            parts: of,
            diagnostics,
        });
        self.compiled.insert(source.clone(), Arc::clone(&compiled));
        compiled
    }

    /// Forgets the one of this source if nobody has it any more.
    pub(super) fn drop_unused(&mut self, source: &Source) {
        if self
            .compiled
            .get(source)
            .is_some_and(|it| Arc::strong_count(it) == 1)
        {
            self.forget(source);
        }
    }

    /// Gives back the parts of what is not used any more.
    pub(super) fn settle(&mut self, parts: &mut Parts) {
        for compiled in std::mem::take(&mut self.gone) {
            for &part in compiled.parts.iter().flatten() {
                parts.release(part);
            }
        }
    }

    /// What is wrong with them.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.compiled.values().flat_map(|it| &it.diagnostics)
    }
}
