//! What was told and how often it has happened: what is due now.
//!
//! **Invariants.** One thing is written at most once in an interval. All together: a burst, then one in each pause. A thing that
//! has not happened for an hour is forgotten, as the API server forgets its Event.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use super::note::{Note, Reason, Subject};

/// How long the first word waits for more of the same.
const GATHER: Duration = Duration::from_secs(1);
/// Events that may be written at once, and how long one more takes.
const BURST: u32 = 25;
const PAUSE: Duration = Duration::from_secs(6);
/// After how long what could not be told is tried again, with what has come until then.
const RETRY: Duration = Duration::from_secs(30);
/// API servers keep Events for so long, unless they are told otherwise.
const LIFE: Duration = Duration::from_secs(3600);
/// Things that are kept in mind; more are not told.
const MOST: usize = 4096;

/// What tells one thing from another.
pub(super) type Key = (Subject, Reason, String);

/// Something that is due.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub note: Note,
    /// How often it has happened since `first`.
    pub count: i32,
    pub first: SystemTime,
    pub last: SystemTime,
    /// The Event that is there already.
    pub event: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is there, by this name.
    Written(String),
    /// Nobody is to be told any more: the object is gone.
    Gone,
    /// The Event is gone: another one is due at once.
    Expired,
    /// It could not be told.
    Failed,
}

#[derive(Debug)]
struct Entry {
    telling: Telling,
    /// `count` when it was told last.
    told: i32,
    /// Not before.
    due: Instant,
    seen: Instant,
}

/// All that happens.
#[derive(Debug)]
pub(super) struct Ledger {
    interval: Duration,
    entries: HashMap<Key, Entry>,
    tokens: u32,
    /// When the last token was given.
    filled: Option<Instant>,
}

// === impl Ledger ===

impl Ledger {
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            entries: HashMap::new(),
            tokens: BURST,
            filled: None,
        }
    }

    /// It has happened, once more.
    pub fn saw(&mut self, note: Note, now: Instant, time: SystemTime) {
        let key = key(&note);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.telling.count = entry.telling.count.saturating_add(1);
            entry.telling.last = time;
            entry.seen = now;
        } else if self.entries.len() < MOST {
            let telling = Telling {
                note,
                count: 1,
                first: time,
                last: time,
                event: None,
            };
            let entry = Entry {
                telling,
                told: 0,
                due: now + GATHER,
                seen: now,
            };
            self.entries.insert(key, entry);
        }
    }

    /// What is to be told now, the longest due first.
    pub fn due(&mut self, now: Instant) -> Vec<Telling> {
        self.entries
            .retain(|_, entry| entry.told < entry.telling.count || now < entry.seen + LIFE);
        self.fill(now);
        let mut due: Vec<&mut Entry> = self
            .entries
            .values_mut()
            .filter(|entry| entry.told < entry.telling.count && entry.due <= now)
            .collect();
        due.sort_by_key(|entry| entry.due);
        let room = usize::try_from(self.tokens).unwrap_or(usize::MAX);
        let chosen = due.into_iter().take(room).map(|entry| {
            self.tokens -= 1;
            entry.due = now + self.interval;
            entry.telling.clone()
        });
        chosen.collect()
    }

    fn fill(&mut self, now: Instant) {
        let filled = *self.filled.get_or_insert(now);
        let gained = now.duration_since(filled).as_secs() / PAUSE.as_secs();
        let gained = u32::try_from(gained).unwrap_or(BURST).min(BURST);
        if gained > 0 {
            self.tokens = BURST.min(self.tokens + gained);
            self.filled = Some(filled + PAUSE * gained);
            if gained == BURST {
                self.filled = Some(now);
            }
        }
    }

    /// What became of what was due.
    pub fn told(&mut self, telling: &Telling, told: Told, now: Instant) {
        let key = key(&telling.note);
        match told {
            Told::Gone => {
                self.entries.remove(&key);
            }
            Told::Written(name) => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.told = telling.count;
                    entry.telling.event = Some(name);
                }
            }
            Told::Expired => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.telling.event = None;
                    entry.telling.count -= entry.told;
                    entry.told = 0;
                    entry.telling.first = entry.telling.last;
                    entry.due = now;
                }
            }
            Told::Failed => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.due = now + RETRY;
                }
            }
        }
    }
}

fn key(note: &Note) -> Key {
    (note.subject.clone(), note.reason, note.about.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn note(pod: usize) -> Note {
        Note {
            subject: Subject::pod(&format!("t/p{pod}")).unwrap(),
            reason: Reason::MetadataAccessDenied,
            about: "169.254.169.254".to_owned(),
            text: "denied".to_owned(),
            shared: false,
        }
    }

    fn written(ledger: &mut Ledger, now: Instant) -> Vec<i32> {
        let due = ledger.due(now);
        for telling in &due {
            ledger.told(telling, Told::Written("e".to_owned()), now);
        }
        due.iter().map(|telling| telling.count).collect()
    }

    #[test]
    fn a_thing_is_told_once_in_an_interval_with_its_count() {
        let (mut ledger, start) = (Ledger::new(INTERVAL), Instant::now());
        for _ in 0..3 {
            ledger.saw(note(1), start, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(
            written(&mut ledger, start),
            Vec::<i32>::new(),
            "more of it may come"
        );
        assert_eq!(written(&mut ledger, start + GATHER), [3]);
        ledger.saw(note(1), start + GATHER, SystemTime::UNIX_EPOCH);
        assert_eq!(written(&mut ledger, start + INTERVAL), Vec::<i32>::new());
        assert_eq!(written(&mut ledger, start + INTERVAL + GATHER), [4]);
        assert_eq!(
            written(&mut ledger, start + 3 * INTERVAL),
            Vec::<i32>::new(),
            "no news"
        );
        ledger.saw(note(1), start + 3 * INTERVAL, SystemTime::UNIX_EPOCH);
        let due = ledger.due(start + 3 * INTERVAL);
        assert_eq!(due[0].event.as_deref(), Some("e"), "the same Event");
        // The API server has forgotten it.
        ledger.told(&due[0], Told::Expired, start + 3 * INTERVAL);
        let due = ledger.due(start + 3 * INTERVAL);
        assert_eq!((due[0].count, due[0].event.as_deref()), (1, None));
    }

    #[test]
    fn many_things_are_told_at_a_rate_and_none_is_lost() {
        let (mut ledger, start) = (Ledger::new(INTERVAL), Instant::now());
        for pod in 0..100 {
            ledger.saw(note(pod), start, SystemTime::UNIX_EPOCH);
        }
        let mut now = start + GATHER;
        assert_eq!(written(&mut ledger, now).len(), 25);
        assert_eq!(written(&mut ledger, now).len(), 0);
        now += PAUSE * 2;
        assert_eq!(written(&mut ledger, now).len(), 2);
        let mut more = 0;
        for _ in 0..80 {
            now += PAUSE;
            more += written(&mut ledger, now).len();
        }
        assert_eq!(more, 73);
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded_and_forgotten() {
        let (mut ledger, start) = (Ledger::new(INTERVAL), Instant::now());
        for pod in 0..2 * MOST {
            ledger.saw(note(pod), start, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(ledger.entries.len(), MOST);
        let due = ledger.due(start + GATHER);
        ledger.told(&due[0], Told::Gone, start);
        assert_eq!(ledger.entries.len(), MOST - 1);
        for telling in &due[1..] {
            ledger.told(telling, Told::Written("e".to_owned()), start);
        }
        ledger.due(start + LIFE + GATHER);
        assert_eq!(ledger.entries.len(), MOST - due.len(), "the untold stay");
    }
}
