//! A source that begins with what was last known, if the real one is not there in time.
//!
//! **Invariants.** What is recalled of a kind is replaced as a whole by the source's own word about that kind, and never comes
//! after it. Until then it is marked as what it is.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{Batch, Event, Health, Kind, Places, Read, Source, kept};

/// Batches that wait, at most; a source that is faster waits.
const QUEUE: usize = 16;

/// A source, and what was last known of it.
#[derive(Debug)]
pub struct Recalling<S> {
    /// The source itself.
    pub source: S,
    /// Where what was last known is kept.
    pub directory: PathBuf,
    /// Whose it must be.
    pub node: String,
    /// How long to wait for the source itself.
    pub patience: Duration,
    /// Where it is noted that something was recalled.
    pub health: Arc<Health>,
    /// Whose word about places counts: an agent that believed more may have kept it.
    pub places: Places,
}

impl<S: Source> Source for Recalling<S> {
    async fn run(self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
        let Self {
            source,
            directory,
            node,
            patience,
            health,
            places,
        } = self;
        let (sender, mut own) = mpsc::channel(QUEUE);
        let mut source = std::pin::pin!(source.run(sender));
        let deadline = Instant::now() + patience;
        let mut missing = BTreeSet::from(Kind::ALL);
        let mut recalled = false;
        loop {
            let batch = tokio::select! {
                // What has been said already is not recalled.
                biased;
                batch = own.recv() => match batch {
                    Some(batch) => batch,
                    None => return source.await,
                },
                ended = &mut source => {
                    while let Ok(batch) = own.try_recv() {
                        if batches.send(batch).await.is_err() {
                            break;
                        }
                    }
                    return ended;
                }
                () = tokio::time::sleep_until(deadline), if !recalled && !missing.is_empty() => {
                    recalled = true;
                    let mut known = recall(directory.clone(), node.clone(), &missing, &health).await;
                    places.hold_to(&mut known);
                    known
                }
            };
            for event in &batch {
                if let Event::Init(kind) = event {
                    missing.remove(kind);
                }
            }
            if !batch.is_empty() && batches.send(batch).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// What was last known of these kinds.
async fn recall(
    directory: PathBuf,
    node: String,
    kinds: &BTreeSet<Kind>,
    health: &Health,
) -> Batch {
    let path = kept::path(&directory);
    let read = tokio::task::spawn_blocking(move || kept::read(&directory, &node)).await;
    let (written, reads) = match read.map_err(anyhow::Error::from).flatten() {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            tracing::info!(path = %path.display(), "no state of before is known");
            return Batch::new();
        }
        Err(error) => {
            tracing::warn!("the state of before is not used: {error:#}");
            return Batch::new();
        }
    };
    tracing::warn!(
        path = %path.display(),
        written = %humantime(written),
        objects = reads.len(),
        "the state that was last known is enforced, each kind until the API server has told all of it"
    );
    health.recalled(written);
    // The same order as a source's, though nobody minds.
    let mut batch: Batch = kinds.iter().copied().map(Event::Init).collect();
    let wanted = |read: &Read| kinds.contains(&read.key.kind);
    let applied = reads.into_iter().filter(wanted);
    batch.extend(applied.map(|read| Event::Apply(Box::new(read))));
    batch.extend(kinds.iter().copied().map(Event::Recalled));
    batch
}

fn humantime(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1;

    use super::*;
    use crate::watch::Object;

    /// Says what it is told to.
    struct Told(mpsc::Receiver<Batch>);

    impl Source for Told {
        async fn run(mut self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
            while let Some(batch) = self.0.recv().await {
                batches.send(batch).await?;
            }
            anyhow::bail!("told no more")
        }
    }

    fn namespace(name: &str) -> Object {
        let mut object = v1::Namespace::default();
        object.metadata.name = Some(name.to_owned());
        Object::Namespace(Box::new(object))
    }

    #[tokio::test]
    async fn what_the_source_has_begun_to_tell_is_not_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let annotations = ["ringfence.dev/netns", "iam.amazonaws.com/role"]
            .map(|key| (key.to_owned(), "kept".to_owned()));
        let pod = Object::Pod(Box::new(v1::Pod {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some("p".to_owned()),
                annotations: Some(annotations.into()),
                ..Default::default()
            },
            ..v1::Pod::default()
        }));
        kept::write(directory.path(), "n1", [namespace("old"), pod].into_iter()).unwrap();
        let (tell, told) = mpsc::channel(1);
        let health = Arc::new(Health::default());
        let source = Recalling {
            source: Told(told),
            directory: directory.path().to_owned(),
            node: "n1".to_owned(),
            // Long enough for what is sent already.
            patience: Duration::from_millis(300),
            health: Arc::clone(&health),
            places: Places::Ignored,
        };
        let (sender, mut batches) = mpsc::channel(1);
        tell.send(vec![Event::Init(Kind::Namespace)]).await.unwrap();
        let running = tokio::spawn(source.run(sender));
        assert_eq!(
            batches.recv().await.unwrap(),
            [Event::Init(Kind::Namespace)]
        );
        let recalled = batches.recv().await.unwrap();
        let named = recalled.iter().filter_map(|event| match event {
            Event::Apply(read) => Some(read.key.to_string()),
            Event::Init(Kind::Namespace) | Event::Recalled(Kind::Namespace) => panic!("begun"),
            _ => None,
        });
        assert_eq!(named.collect::<Vec<_>>(), ["Pod/default/p"]);
        let annotations = recalled.iter().find_map(|event| match event {
            Event::Apply(read) => match &read.object {
                Object::Pod(pod) => pod.metadata.annotations.as_ref(),
                _ => None,
            },
            _ => None,
        });
        assert!(
            annotations.unwrap().keys().eq(["iam.amazonaws.com/role"]),
            "what an agent that believed it kept of a place is not believed"
        );
        assert_eq!(recalled.len(), 1 + 2 * (Kind::ALL.len() - 1));
        let done = vec![Event::InitDone(Kind::Namespace)];
        tell.send(done.clone()).await.unwrap();
        assert_eq!(batches.recv().await.unwrap(), done);
        drop(tell);
        let ended = running.await.unwrap().unwrap_err().to_string();
        assert_eq!(ended, "told no more");
    }
}
