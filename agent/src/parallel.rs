//! The same for each of many, on several processors where that is worth it.
//!
//! Threads live as long as one call, and whoever calls does its share: so no stage waits for another one's work, none of them is
//! in any other network namespace than its caller, and where none can be made the caller does it all.

use std::{
    panic,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

/// Steps of about 100 ns each below which it takes longer to make threads than to do them.
const WORTH_IT: usize = 1024;

/// Threads of one call: what is done here is bound by memory soon.
const MOST: usize = 8;

/// Does something with each, which takes about so many small steps in all. What comes out is in the order of what goes in;
/// several threads begin with the last.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    steps: usize,
    one: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let helpers = if steps < WORTH_IT {
        0
    } else {
        processors().min(items.len()).saturating_sub(1)
    };
    shared_out(items, helpers, one)
}

/// The same, with so many threads besides this one.
fn shared_out<T: Send, R: Send>(
    items: Vec<T>,
    helpers: usize,
    one: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    if helpers == 0 {
        return items.into_iter().map(one).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let take = || {
        let mut left = queue.lock().unwrap_or_else(PoisonError::into_inner);
        left.next_back()
    };
    let work = || -> Vec<(usize, R)> {
        std::iter::from_fn(take)
            .map(|(at, item)| (at, one(item)))
            .collect()
    };
    let mut done = thread::scope(|scope| {
        let helper = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let mut done = work();
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panicked) => panic::resume_unwind(panicked),
            }
        }
        done
    });
    done.sort_unstable_by_key(|&(at, _)| at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Processors that this process may use, by its affinity and its cgroup's quota when it was asked first.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| {
        thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_in_the_order_of_what_goes_in() {
        for helpers in 0..5 {
            let items: Vec<usize> = (0..1000).collect();
            let expect: Vec<usize> = items.iter().map(|it| it * it).collect();
            assert_eq!(
                shared_out(items, helpers, |it| it * it),
                expect,
                "{helpers}"
            );
        }
        assert_eq!(map(Vec::<u8>::new(), usize::MAX, |it| it), [0_u8; 0]);
    }

    #[test]
    #[should_panic(expected = "the tenth")]
    fn a_panic_of_a_thread_is_the_callers() {
        shared_out((0..1000).collect(), 3, |it| {
            assert!(it != 10, "the tenth");
        });
    }
}
