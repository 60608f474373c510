//! What the files said, kept where they no longer say it well.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{Batch, Event, Kind, ObjectKey, object::Broken},
    changes::Trust,
    document::{Item, Reading},
    files::Listing,
};
use crate::model::Diagnostic;

/// The objects in force, each with the file it came from, and what is wrong with the files.
#[derive(Debug, Default)]
pub(super) struct Memory {
    items: BTreeMap<ObjectKey, (PathBuf, Item)>,
    diagnostics: Vec<Diagnostic>,
    /// All objects have been delivered once.
    synced: bool,
}

/// Everything that the files say together.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub items: BTreeMap<ObjectKey, (PathBuf, Item)>,
    pub diagnostics: Vec<Diagnostic>,
    /// Nothing is missing.
    pub complete: bool,
}

/// Puts the files together; an object that stands in two places is broken.
pub(super) fn merge(listing: &Listing, readings: &BTreeMap<PathBuf, Reading>) -> Whole {
    let mut whole = Whole {
        diagnostics: super::files::failures(listing),
        complete: listing.failed.is_empty(),
        ..Whole::default()
    };
    for file in &listing.files {
        let Some(reading) = readings.get(file) else {
            continue;
        };
        whole
            .diagnostics
            .extend(reading.diagnostics.iter().cloned());
        whole.complete &= !reading.incomplete;
        for item in &reading.items {
            match whole.items.get_mut(item.key()) {
                None => {
                    whole
                        .items
                        .insert(item.key().clone(), (file.clone(), item.clone()));
                }
                Some((_, first)) => *first = duplicate(first, item),
            }
        }
    }
    whole
}

fn duplicate(first: &Item, second: &Item) -> Item {
    let mut diagnostics = Vec::new();
    let mut remnant = None;
    if let Item::Broken(broken) = first {
        diagnostics.extend(broken.diagnostics.iter().cloned());
        remnant = broken.remnant.clone();
    } else if let Item::Good(read) = first
        && let super::super::Object::NetworkPolicy(policy) = &read.object
    {
        let mut policy = policy.clone();
        if let Some(spec) = &mut policy.spec {
            // Only whom it isolates is certain, not what it lets through.
            spec.ingress = spec.ingress.take().map(|_| Vec::new());
            spec.egress = spec.egress.take().map(|_| Vec::new());
        }
        remnant = Some(policy);
    }
    if let Item::Broken(broken) = second {
        diagnostics.extend(broken.diagnostics.iter().cloned());
    }
    diagnostics.push(Diagnostic {
        origin: second.origin().clone(),
        object: second.key().to_string(),
        field: String::new(),
        message: format!(
            "the same object stands at {} and at {}; keep one of them, or give one another name",
            first.origin(),
            second.origin()
        ),
    });
    let (key, origin) = (first.key().clone(), first.origin().clone());
    Item::Broken(Box::new(Broken {
        key,
        origin,
        revision: None,
        remnant,
        diagnostics,
    }))
}

// === impl Memory ===

impl Memory {
    /// Takes what the files say now and tells what that changes.
    pub fn update(
        &mut self,
        listing: &Listing,
        readings: &BTreeMap<PathBuf, Reading>,
        trust: Trust,
    ) -> Batch {
        let mut whole = merge(listing, readings);
        let whole_files = trust == Trust::Whole;
        whole.complete &= whole_files;
        let mut batch = Batch::new();
        if self.diagnostics != whole.diagnostics {
            batch.push(Event::Diagnostics(whole.diagnostics.clone()));
            self.diagnostics = whole.diagnostics;
        }
        if !self.synced {
            if whole.complete {
                self.synced = true;
                batch.extend(Kind::ALL.map(Event::Init));
                batch.extend(whole.items.values().map(|(_, item)| event(item)));
                batch.extend(Kind::ALL.map(Event::InitDone));
                self.items = whole.items;
            }
            return batch;
        }
        // What a file no longer says is only gone if the file can be read to its end.
        let kept = |file: &Path| {
            !whole_files
                || readings.get(file).is_some_and(|reading| reading.incomplete)
                || listing
                    .failed
                    .iter()
                    .any(|(path, _)| file.starts_with(path))
        };
        for (key, (file, item)) in &self.items {
            if !whole.items.contains_key(key) && kept(file) {
                whole
                    .items
                    .insert(key.clone(), (file.clone(), item.clone()));
            }
        }
        for (key, (_, item)) in &whole.items {
            if self.items.get(key).is_none_or(|(_, before)| before != item) {
                batch.push(event(item));
            }
        }
        for key in self
            .items
            .keys()
            .filter(|key| !whole.items.contains_key(*key))
        {
            batch.push(Event::Delete(key.clone()));
        }
        self.items = whole.items;
        batch
    }
}

fn event(item: &Item) -> Event {
    match item {
        Item::Good(read) => Event::Apply(read.clone()),
        Item::Broken(broken) => Event::Broken(broken.clone()),
    }
}
