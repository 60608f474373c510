//! What there is of an agent's in the kernel, and of the kernel's in an agent.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_tests::agent::Agent;

/// Maps whose elements are packets' doing and go when their time is over.
const BY_PACKETS: [&str; 3] = ["CONNECTION", "REVOKED", "FRAGMENT"];

/// What a pod that has gone must not add to.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    pins: Vec<String>,
    /// Maps and links by kind.
    objects: BTreeMap<String, usize>,
    /// Elements of maps that the agent alone writes.
    entries: BTreeMap<String, u64>,
}

impl Left {
    /// True if nothing has been added to what was left before: an object may have been about to go by then.
    pub fn is_no_more_than(&self, before: &Self) -> bool {
        let more = |(name, count): (&String, &u64)| before.entries.get(name) < Some(count);
        self.pins == before.pins && self.objects == before.objects && !self.entries.iter().any(more)
    }

    /// True if the same is pinned: devices of pods that have gone are no longer guarded.
    pub fn pins_what(&self, other: &Self) -> bool {
        self.pins == other.pins
    }

    /// What there is now.
    pub fn of(agent: &Agent) -> Self {
        let mut pins = Vec::new();
        collect(&agent.bpffs(), &mut pins);
        pins.sort();
        let (mut objects, mut entries) = (BTreeMap::new(), BTreeMap::new());
        let shown = agent.json(&["bpf", "show"]);
        for object in shown["items"].as_array().expect("a list") {
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            *objects.entry(kind).or_default() += 1;
            let pin = object["pin"].as_str().expect("a pin");
            let name = pin.rsplit('/').next().expect("a name");
            if let Some(count) = object["entries"].as_u64()
                && !BY_PACKETS.iter().any(|start| name.starts_with(start))
            {
                entries.insert(name.to_owned(), count);
            }
        }
        Self {
            pins,
            objects,
            entries,
        }
    }
}

fn collect(folder: &Path, pins: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the bpffs").flatten() {
        pins.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            collect(&entry.path(), pins);
        }
    }
}

/// How many descriptors an agent has open of each kind: of maps, links and programs, and of everything else.
pub fn descriptors(agent: &Agent) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let folder = format!("/proc/{}/fdinfo", agent.pid());
    for entry in fs::read_dir(folder).expect("it runs").flatten() {
        // One that is closed meanwhile does not count.
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let has = |field: &&str| text.lines().any(|line| line.starts_with(field));
        let kind = ["map_id:", "link_id:", "prog_id:"].into_iter().find(has);
        *counts.entry(kind.unwrap_or("other")).or_default() += 1;
    }
    counts
}
