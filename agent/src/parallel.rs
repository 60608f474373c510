//! The same for each of many, on all processors where that is worth it.

use rayon::prelude::*;

/// Steps of about 100 ns each below which it takes longer to wake other threads than to do them.
const WORTH_IT: usize = 1024;

/// Does something with each, which takes about so many small steps in all. What comes out is in the order of what goes in.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    steps: usize,
    one: impl Fn(T) -> R + Send + Sync,
) -> Vec<R> {
    if steps < WORTH_IT {
        items.into_iter().map(one).collect()
    } else {
        items.into_par_iter().map(one).collect()
    }
}
