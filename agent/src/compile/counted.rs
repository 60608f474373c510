//! Values with a number each, for as long as somebody uses them.

use std::{hash::Hash, sync::Arc};

use hashbrown::HashMap;

/// Equal values have one number while they are in use; no number is ever given out twice, so whoever still has an old
/// one finds nothing rather than something else.
#[derive(Debug)]
pub(super) struct Counted<T> {
    numbers: HashMap<Arc<T>, usize>,
    items: HashMap<usize, (Arc<T>, usize)>,
    next: usize,
    /// Numbers that are new since the last [`Self::settle`].
    born: Vec<usize>,
    /// Numbers that lost their last user since then; they may have found another.
    idle: Vec<usize>,
}

/// What came and went.
#[derive(Debug)]
pub(super) struct Settled<T> {
    /// Numbers, ascending.
    pub(super) born: Vec<usize>,
    /// Numbers, ascending, and what they meant.
    pub(super) dead: Vec<(usize, Arc<T>)>,
    /// What came and went in between.
    pub(super) stillborn: Vec<Arc<T>>,
}

impl<T: Hash + Eq> Counted<T> {
    /// The value's number, used once more.
    pub(super) fn add(&mut self, value: T) -> usize {
        if let Some(&number) = self.numbers.get(&value) {
            self.keep(number);
            return number;
        }
        let number = self.next;
        self.next += 1;
        let value = Arc::new(value);
        self.numbers.insert(Arc::clone(&value), number);
        self.items.insert(number, (value, 1));
        self.born.push(number);
        number
    }

    /// One user more.
    pub(super) fn keep(&mut self, number: usize) {
        if let Some((_, users)) = self.items.get_mut(&number) {
            *users += 1;
        }
    }

    /// One user less.
    pub(super) fn release(&mut self, number: usize) {
        if let Some((_, users)) = self.items.get_mut(&number) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.idle.push(number);
            }
        }
    }

    /// The value of a number.
    pub(super) fn get(&self, number: usize) -> Option<&Arc<T>> {
        self.items.get(&number).map(|(value, _)| value)
    }

    /// The number of a value that is in use.
    pub(super) fn number(&self, value: &T) -> Option<usize> {
        self.numbers.get(value).copied()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.items
            .iter()
            .map(|(&number, (value, _))| (number, &**value))
    }

    /// Forgets what nobody uses.
    pub(super) fn settle(&mut self) -> Settled<T> {
        let mut dead = Vec::new();
        let mut stillborn = Vec::new();
        for number in std::mem::take(&mut self.idle) {
            let Some((_, 0)) = self.items.get(&number) else {
                continue;
            };
            let Some((value, _)) = self.items.remove(&number) else {
                continue;
            };
            self.numbers.remove(&value);
            if self.born.binary_search(&number).is_ok() {
                stillborn.push(value);
            } else {
                dead.push((number, value));
            }
        }
        let mut born = std::mem::take(&mut self.born);
        born.retain(|number| self.items.contains_key(number));
        dead.sort_unstable_by_key(|&(number, _)| number);
        Settled {
            born,
            dead,
            stillborn,
        }
    }
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            items: HashMap::new(),
            next: 0,
            born: Vec::new(),
            idle: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_before_it_settles_keeps_its_number() {
        let mut counted = Counted::default();
        let (one, two) = (counted.add("one"), counted.add("two"));
        assert_eq!(counted.settle().born, [one, two]);
        counted.release(one);
        counted.release(two);
        assert_eq!(counted.add("two"), two);
        let brief = counted.add("brief");
        counted.release(brief);
        let settled = counted.settle();
        assert_eq!(settled.born, [0; 0]);
        assert_eq!(settled.dead, [(one, Arc::new("one"))]);
        assert!(counted.add("one") > brief, "another number than before");
    }
}
