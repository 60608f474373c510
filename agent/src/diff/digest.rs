//! Digests: how content is recognised after a restart.

use ringfence_common::table::LOOKS_AT_NETWORKS;
use sha2::{Digest as _, Sha256};

use crate::compile::{Desired, Row, Signature, Table};

/// First 16 bytes of a SHA-256.
pub type Digest = [u8; 16];

fn finish(hash: Sha256) -> Digest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// Text with its length before it, so that no two sequences of texts have the same bytes.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

/// The digest of what an identity's addresses have in common.
pub fn signature(signature: &Signature) -> Digest {
    let mut hash = Sha256::new();
    for item in signature {
        text(&mut hash, item);
    }
    finish(hash)
}

/// The digest of a table's cells, rules by name, and port map; its classes are not in it.
pub fn table(desired: &Desired, table: &Table) -> Digest {
    let mut hash = Sha256::new();
    hash.update([u8::from(table.looks_at_networks) * LOOKS_AT_NETWORKS.to_le_bytes()[0]]);
    for runs in &table.ports {
        hash.update((runs.len() as u64).to_le_bytes());
        for &(first, column) in runs {
            hash.update(first.to_le_bytes());
            hash.update((column as u64).to_le_bytes());
        }
    }
    hash.update((table.columns as u64).to_le_bytes());
    grown(desired, finish(hash), table.rows.iter())
}

/// The digest of a table with this one, and with more rows behind its own.
pub fn grown<'a>(desired: &Desired, before: Digest, rows: impl Iterator<Item = &'a Row>) -> Digest {
    rows.fold(before, |before, row| {
        let mut hash = Sha256::new();
        hash.update(before);
        for cell in row.iter() {
            hash.update([
                cell.live as u8,
                cell.staged as u8,
                cell.tier as u8,
                u8::from(cell.binds_own_node),
                u8::from(cell.would_bind_own_node),
            ]);
            text(
                &mut hash,
                cell.rule.map_or("", |rule| &desired.rules[&rule]),
            );
        }
        finish(hash)
    })
}
