//! Serves HTTP to whoever comes, without letting anybody take the agent's descriptors, memory or time.
//!
//! **Invariants.** There are never more than so many connections: a new one is always taken, and then the oldest of whoever
//! has the most is closed, so that who opens many only pushes out himself. A connection carries one request, whose head has
//! to come within a moment.

use std::{collections::VecDeque, hash::Hash, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::{AbortHandle, JoinSet};

/// What a server bears.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at the same time.
    pub connections: usize,
    /// How long the head of a request may take to come.
    pub head: Duration,
    /// How long a connection may take in all: a reader that stops reading would keep it for good.
    pub whole: Option<Duration>,
}

/// Serves until the task ends. `peer` says of an address whose it is.
pub(super) async fn serve<L, P>(
    mut listener: L,
    router: Router,
    bounds: Bounds,
    peer: impl Fn(&L::Addr) -> P,
) -> std::convert::Infallible
where
    L: Listener,
    P: Eq + Hash,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false);
    let mut tasks = JoinSet::new();
    let mut seats = Seats::new(bounds.connections);
    loop {
        // One that cannot be had (no descriptor is left) is tried again after a second.
        let (stream, address) = listener.accept().await;
        while tasks.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let task = tasks.spawn(async move {
            // Whatever ends a connection is its client's concern.
            match bounds.whole {
                Some(whole) => drop(tokio::time::timeout(whole, connection).await),
                None => drop(connection.await),
            }
        });
        seats.take(peer(&address), task);
    }
}

/// A connection as far as its seat goes.
trait Guest {
    fn has_left(&self) -> bool;
    fn leave(&self);
}

impl Guest for AbortHandle {
    fn has_left(&self) -> bool {
        self.is_finished()
    }

    fn leave(&self) {
        self.abort();
    }
}

/// Connections and whose they are, the oldest first.
struct Seats<P, G> {
    most: usize,
    taken: VecDeque<(P, G)>,
}

impl<P: Eq + Hash, G: Guest> Seats<P, G> {
    fn new(most: usize) -> Self {
        Self {
            most,
            taken: VecDeque::new(),
        }
    }

    fn take(&mut self, peer: P, guest: G) {
        self.taken.push_back((peer, guest));
        if self.taken.len() <= self.most {
            return;
        }
        self.taken.retain(|(_, guest)| !guest.has_left());
        if self.taken.len() > self.most
            && let Some((_, guest)) = self.loser().and_then(|at| self.taken.remove(at))
        {
            guest.leave();
        }
    }

    /// The oldest of whoever has the most.
    fn loser(&self) -> Option<usize> {
        let mut counts = std::collections::HashMap::new();
        for (peer, _) in &self.taken {
            *counts.entry(peer).or_insert(0_usize) += 1;
        }
        let most = counts.values().max()?;
        self.taken
            .iter()
            .position(|(peer, _)| counts.get(peer) == Some(most))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// Whether somebody is there still.
    #[derive(Clone)]
    struct There(Rc<Cell<bool>>);

    impl Guest for There {
        fn has_left(&self) -> bool {
            !self.0.get()
        }

        fn leave(&self) {
            self.0.set(false);
        }
    }

    fn guest() -> There {
        There(Rc::new(Cell::new(true)))
    }

    #[test]
    fn who_opens_many_pushes_out_himself() {
        let mut seats = Seats::new(4);
        let probe = guest();
        seats.take("kubelet", probe.clone());
        let flood: Vec<There> = (0..100).map(|_| guest()).collect();
        for one in &flood {
            seats.take("stranger", one.clone());
        }
        assert!(!probe.has_left());
        let left: Vec<usize> = (0..100).filter(|at| !flood[*at].has_left()).collect();
        assert_eq!(left, [97, 98, 99]);

        let scrape = guest();
        seats.take("prometheus", scrape.clone());
        assert!(!scrape.has_left() && !probe.has_left() && flood[97].has_left());
    }

    #[test]
    fn nobody_goes_while_there_are_seats() {
        let mut seats = Seats::new(2);
        let (first, second, third) = (guest(), guest(), guest());
        seats.take(1, first.clone());
        seats.take(1, second.clone());
        first.leave();
        seats.take(1, third.clone());
        assert!(!second.has_left() && !third.has_left());
        assert_eq!(seats.taken.len(), 2);
    }
}
