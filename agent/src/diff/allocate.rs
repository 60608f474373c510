//! Room in the array maps.

/// Finds `wanted` free elements in a row among `limit`, from `first` on, first fit.
///
/// `used` are the (start, length) of what is taken, in any order. `None` if there is no such gap.
pub(super) fn find(
    used: impl IntoIterator<Item = (u32, u32)>,
    first: u32,
    wanted: u32,
    limit: u32,
) -> Option<u32> {
    let mut used: Vec<_> = used.into_iter().collect();
    used.sort_unstable();
    let mut at = first;
    for (start, length) in used {
        if start.saturating_sub(at) >= wanted {
            return Some(at);
        }
        at = at.max(start + length);
    }
    (limit.saturating_sub(at) >= wanted).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_first_gap_that_is_large_enough_is_taken() {
        assert_eq!(find([], 0, 10, 10), Some(0));
        assert_eq!(find([], 1, 10, 10), None);
        assert_eq!(find([(0, 4), (6, 4)], 0, 2, 20), Some(4));
        assert_eq!(find([(6, 4), (0, 4)], 0, 3, 20), Some(10));
        assert_eq!(find([(6, 4), (0, 4)], 0, 11, 20), None);
    }
}
