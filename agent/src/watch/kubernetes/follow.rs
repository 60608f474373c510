//! One kind: read in full, then followed, for ever.
//!
//! Why not kube's own `watcher`: it keeps bookmarks and resumed watches to itself, and these are the only proof that a
//! quiet watch still hears; and an object that it cannot decode is an event lost.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use hyper::http::Request as HttpRequest;
use kube::{
    Client,
    api::{GetParams, ListParams, WatchEvent, WatchParams},
    core::Request,
    runtime::{utils::Backoff as _, watcher::DefaultBackoff},
};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use tokio::time::timeout;

use super::{
    super::{Batch, Event},
    outlet::Outlet,
    resource::Resource,
    trouble::Trouble,
};

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// Objects that are handed over at once: each is large until the index has made its own of it.
const HAND: usize = 256;
/// How long a server may take to begin its answer, or to send a page.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a watch may be silent before the server is asked how far it is: it sends a bookmark each minute, unless
/// nothing of this kind happened since it began and its etcd tells it nothing of its own accord.
pub(super) const SILENCE: Duration = Duration::from_secs(100);
/// A watch that lasts no longer has been refused in effect.
const LEAST: Duration = Duration::from_secs(5);
/// How many seconds a watch shall last.
const TERM: u32 = 290;
/// A watch that lasts so long has ended because its time was over.
const WHOLE_TERM: Duration = Duration::from_secs(TERM as u64 - 2);
/// Where definitions lie.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How soon a kind that the cluster does not define is asked for again, at first (it may be about to be installed) and at
/// last: every node asks.
const ABSENT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The bookmark that ends a list that is sent as a watch.
const LIST_END: &str = "k8s.io/initial-events-end";

/// A page of a list.
#[derive(Deserialize)]
struct Page<R> {
    metadata: PageMetadata,
    items: Option<Vec<R>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

/// Follows a kind until nobody listens any more. A watch may be silent so long.
pub(super) async fn follow<R: Resource>(client: Client, outlet: Outlet, silence: Duration) {
    let mut follower = Follower::<R> {
        client,
        outlet,
        silence,
        version: None,
        unsure: false,
        streamed: true,
        absent: false,
        listed: Vec::new(),
    };
    let mut backoff = DefaultBackoff::default();
    let mut absent = ABSENT[0];
    loop {
        let begun = Instant::now();
        let result = follower.step().await;
        follower.unsure = result.is_err() || begun.elapsed() < WHOLE_TERM;
        match result {
            // The server ends watches from time to time; one that does nothing else is not asked without a pause.
            Ok(()) if begun.elapsed() > LEAST => {
                backoff.reset();
                absent = ABSENT[0];
                continue;
            }
            Ok(()) => {}
            Err(Trouble::Unheard) => return,
            Err(Trouble::NotStreamed) => {
                follower.streamed = false;
                continue;
            }
            // Who may not ask is told so before it is looked whether there is anything to ask for.
            Err(trouble @ (Trouble::NotFound | Trouble::Forbidden(_))) if R::KIND.is_custom() => {
                let trouble = match follower.absent().await {
                    Ok(true) => {
                        backoff.reset();
                        tokio::select! {
                            () = tokio::time::sleep(absent) => {}
                            () = follower.outlet.closed() => return,
                        }
                        absent = (absent * 2).min(ABSENT[1]);
                        continue;
                    }
                    Ok(false) => trouble,
                    Err(other) => other,
                };
                if follower.outlet.failed::<R>(&trouble).await.is_err() {
                    return;
                }
            }
            Err(trouble) => {
                if matches!(trouble, Trouble::Gone | Trouble::Lost(_)) {
                    follower.version = None;
                }
                tracing::debug!(kind = R::KIND.as_str(), ?trouble, "watch interrupted");
                if follower.outlet.failed::<R>(&trouble).await.is_err() {
                    return;
                }
            }
        }
        let delay = backoff.next().unwrap_or(PATIENCE);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = follower.outlet.closed() => return,
        }
    }
}

struct Follower<R> {
    client: Client,
    outlet: Outlet,
    /// How long a watch may be silent.
    silence: Duration,
    /// What was seen last; `None` before everything has been read.
    version: Option<String>,
    /// The last watch ended before its time: who answers now may be another than before.
    unsure: bool,
    /// Lists are asked for as watches: the server sends them from its cache, object by object.
    streamed: bool,
    /// It has been told that the cluster does not define the kind.
    absent: bool,
    /// What a list has brought so far.
    listed: Vec<R>,
}

// === impl Follower ===

impl<R: Resource> Follower<R> {
    /// Reads everything if that is still to be done, then one watch to its end.
    async fn step(&mut self) -> Result<(), Trouble> {
        self.listed = Vec::new();
        if self.version.is_none() && !self.streamed {
            let version = self.pages().await?;
            self.deliver(version).await?;
        } else if self.unsure {
            self.compare().await?;
        }
        let outlet = self.outlet.clone();
        tokio::select! {
            result = self.listen() => result,
            () = outlet.closed() => Err(Trouble::Unheard),
        }
    }

    /// Asks whether the server is as far as what was seen. One that is not lets a watch wait in silence until it is,
    /// and never tells what it has lost: a backup was restored, say.
    async fn compare(&self) -> Result<(), Trouble> {
        let Some(seen) = &self.version else {
            return Ok(());
        };
        let page: Page<IgnoredAny> = self.page(&ListParams::default().limit(1)).await?;
        let now = page.metadata.resource_version;
        if is_behind(&now, seen) {
            return Err(Trouble::Lost(format!(
                "the API server knows less than before (its version is {now}, {seen} was seen), as after the restoration \
                 of a backup"
            )));
        }
        Ok(())
    }

    /// Asks whether the cluster defines the kind at all. If not, there are no objects of it, and that is told.
    ///
    /// By the definition itself: discovery is incomplete for a while after a server has started.
    async fn absent(&mut self) -> Result<bool, Trouble> {
        let name = format!("{}.{}", R::PLURAL, R::GROUP);
        let request = Request::new(DEFINITIONS).get(&name, &GetParams::default());
        let answer = self.client.request::<IgnoredAny>(built(request)?);
        match timeout(PATIENCE, answer).await {
            Ok(Err(kube::Error::Api(status)))
                if status.is_not_found()
                    && status.details.as_ref().is_some_and(|it| it.name == name) => {}
            Ok(Ok(_)) => return Ok(false),
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) => {
                return Err(Trouble::Failed(format!("no answer within {PATIENCE:?}")));
            }
        }
        if !self.absent {
            self.listed = Vec::new();
            self.deliver(String::new()).await?;
            self.absent = true;
            tracing::info!(
                kind = R::KIND.as_str(),
                "the cluster does not define this kind"
            );
        } else {
            self.outlet.heard(R::KIND).await?;
        }
        // Whatever comes is new.
        self.version = None;
        Ok(true)
    }

    /// Reads all pages of a list; the version that it is of.
    async fn pages(&mut self) -> Result<String, Trouble> {
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page: Page<R> = self.page(&parameters).await?;
            self.listed.extend(page.items.into_iter().flatten());
            if page.metadata.next.is_empty() {
                return Ok(page.metadata.resource_version);
            }
            parameters = parameters.continue_token(&page.metadata.next);
        }
    }

    async fn page<T: DeserializeOwned>(&self, parameters: &ListParams) -> Result<Page<T>, Trouble> {
        let request = Request::new(R::path());
        let request = if R::METADATA_ONLY {
            request.list_metadata(parameters)
        } else {
            request.list(parameters)
        };
        in_time(self.client.request(built(request)?)).await
    }

    /// One watch to its end, after everything if that has not been read.
    async fn listen(&mut self) -> Result<(), Trouble> {
        let mut listing = self.version.is_none();
        let parameters = WatchParams {
            bookmarks: true,
            send_initial_events: listing,
            timeout: Some(TERM),
            ..WatchParams::default()
        };
        let request = Request::new(R::path());
        let version = self.version.clone().unwrap_or_default();
        let request = if R::METADATA_ONLY {
            request.watch_metadata(&parameters, &version)
        } else {
            request.watch(&parameters, &version)
        };
        let opened = in_time(self.client.request_events::<R>(built(request)?)).await;
        let events = opened.map_err(|trouble| match trouble {
            // By its words: there is no code of its own for it.
            Trouble::Failed(said) if listing && said.contains("sendInitialEvents") => {
                Trouble::NotStreamed
            }
            trouble => trouble,
        })?;
        let mut events = pin!(events);
        // That it was opened proves nothing alone: a watch of a version that the server has yet to reach is silent.
        if !listing && self.unsure {
            self.outlet.heard(R::KIND).await?;
        }
        loop {
            // Who is silent is asked how far it is before the watch goes on.
            let next = timeout(self.silence, events.next()).await;
            let Ok(Some(event)) = next else {
                return if listing {
                    Err(Trouble::Failed("the list broke off".to_owned()))
                } else {
                    Ok(())
                };
            };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) if listing => {
                    self.listed.push(object);
                }
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.advance(object.metadata().resource_version.clone())?;
                    self.outlet.send(vec![object.into_event()]).await?;
                    self.outlet.noted(R::KIND);
                }
                WatchEvent::Deleted(object) if listing => {
                    let key = object.key();
                    self.listed.retain(|listed| listed.key() != key);
                }
                WatchEvent::Deleted(object) => {
                    self.advance(object.metadata().resource_version.clone())?;
                    self.outlet.send(vec![Event::Delete(object.key())]).await?;
                    self.outlet.noted(R::KIND);
                }
                WatchEvent::Bookmark(bookmark) if listing => {
                    if bookmark.metadata.annotations.contains_key(LIST_END) {
                        self.deliver(bookmark.metadata.resource_version).await?;
                        listing = false;
                    }
                }
                WatchEvent::Bookmark(bookmark) => {
                    self.advance(Some(bookmark.metadata.resource_version))?;
                    self.outlet.heard(R::KIND).await?;
                }
                WatchEvent::Error(status) => return Err((*status).into()),
            }
        }
    }

    /// Notes what was seen last. A server that is behind it has lost what it told before: a restored backup, say.
    fn advance(&mut self, version: Option<String>) -> Result<(), Trouble> {
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            return Err(Trouble::Gone);
        };
        if self
            .version
            .as_ref()
            .is_some_and(|seen| is_behind(&version, seen))
        {
            return Err(Trouble::Gone);
        }
        self.version = Some(version);
        Ok(())
    }

    /// Hands everything over as all that there is.
    async fn deliver(&mut self, version: String) -> Result<(), Trouble> {
        let listed = std::mem::take(&mut self.listed);
        let count = listed.len();
        let mut events = listed.into_iter().map(R::into_event);
        self.outlet.send(vec![Event::Init(R::KIND)]).await?;
        loop {
            let hand: Batch = events.by_ref().take(HAND).collect();
            if hand.is_empty() {
                break;
            }
            self.outlet.send(hand).await?;
        }
        // Before the index can say that it has everything.
        self.outlet.synced(R::KIND);
        self.outlet.send(vec![Event::InitDone(R::KIND)]).await?;
        self.outlet.heard(R::KIND).await?;
        self.version = Some(version);
        self.absent = false;
        tracing::info!(
            kind = R::KIND.as_str(),
            objects = count,
            streamed = self.streamed,
            "read in full"
        );
        Ok(())
    }
}

/// Versions that are no numbers say nothing about their order.
fn is_behind(version: &str, seen: &str) -> bool {
    let numbers = (version.parse::<u64>(), seen.parse::<u64>());
    matches!(numbers, (Ok(version), Ok(seen)) if version < seen)
}

fn built(
    request: Result<HttpRequest<Vec<u8>>, kube::core::request::Error>,
) -> Result<HttpRequest<Vec<u8>>, Trouble> {
    request.map_err(|error| Trouble::Failed(error.to_string()))
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(Trouble::Failed(format!("no answer within {PATIENCE:?}"))),
    }
}
