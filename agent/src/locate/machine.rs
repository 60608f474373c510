//! This machine, as far as it tells about changes.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use futures::StreamExt as _;
use notify::Watcher as _;
use rtnetlink::{Handle, MulticastGroup, sys::AsyncSocket as _};
use tokio::{sync::mpsc, task::JoinHandle};

use super::netlink::{self, Stack};

/// Changes come in bursts (a veth pair is a dozen messages): this long one waits for the rest.
const BURST: Duration = Duration::from_millis(10);
/// How long to wait before listening anew.
const RETRY: Duration = Duration::from_secs(1);

/// The node's network, and word of its changes.
pub(super) struct Machine {
    /// The node, as it was last read.
    pub stack: Stack,
    /// Asks about the node, and about namespaces that it has a number for.
    pub handle: Handle,
    asking: JoinHandle<()>,
    listening: JoinHandle<()>,
    /// Changes of addresses in other namespaces are told too.
    pub sees_inside: bool,
    /// Something has changed since it was last read.
    pub noticed: bool,
    changes: mpsc::Receiver<()>,
    sender: mpsc::Sender<()>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Machine {
    pub fn new(directories: &[PathBuf]) -> anyhow::Result<Self> {
        // One place is enough: a message says that something changed, and then everything is read.
        let (sender, changes) = mpsc::channel(1);
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()
            .context("cannot open a netlink socket")?;
        let asking = tokio::spawn(connection);
        let (listening, sees_inside) = listen(sender.clone())?;
        let watcher = watch_directories(directories, sender.clone())
            .inspect_err(|error| tracing::warn!(%error, "cannot watch {directories:?}: new namespaces are found late"))
            .ok();
        Ok(Self {
            stack: Stack::default(),
            handle,
            asking,
            listening,
            sees_inside,
            noticed: false,
            changes,
            sender,
            _watcher: watcher,
        })
    }

    /// Waits for a change and for the end of its burst. What was noticed stays so if the wait is given up.
    pub async fn changed(&mut self) {
        if !self.noticed {
            tokio::select! {
                _ = self.changes.recv() => {}
                _ = &mut self.listening => {
                    // The kernel's queue ran over, or the socket broke: what was missed is read again.
                    match listen(self.sender.clone()) {
                        Ok((listening, sees_inside)) => {
                            (self.listening, self.sees_inside) = (listening, sees_inside);
                        }
                        Err(error) => {
                            tracing::error!(%error, "cannot listen to the kernel's network messages; trying again");
                            self.listening = tokio::spawn(tokio::time::sleep(RETRY));
                        }
                    }
                }
            }
            self.noticed = true;
        }
        tokio::time::sleep(BURST).await;
    }

    /// Reads the node's own links, addresses and routes.
    pub async fn read(&mut self) -> anyhow::Result<()> {
        // What comes from now on is another change.
        while self.changes.try_recv().is_ok() {}
        self.noticed = false;
        self.stack = netlink::read(&self.handle).await?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.asking.abort();
        self.listening.abort();
    }
}

/// A task that reports every message about links, addresses and routes, and ends when it can no more; and whether those of
/// other namespaces are among them.
fn listen(changed: mpsc::Sender<()>) -> anyhow::Result<(JoinHandle<()>, bool)> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (mut connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)
        .context("cannot listen to the kernel's network messages")?;
    // So a pod's address that changes inside its namespace is seen too.
    let heard = connection
        .socket_mut()
        .socket_mut()
        .set_listen_all_namespaces(true);
    if let Err(error) = &heard {
        tracing::info!(%error, "addresses that change inside pods' namespaces are seen late; hearing of them at once takes CAP_NET_BROADCAST");
    }
    let listening = tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        while messages.next().await.is_some() {
            // Full: a change is waiting to be noticed already.
            let _: Result<(), mpsc::error::TrySendError<()>> = changed.try_send(());
        }
        connection.abort();
    });
    Ok((listening, heard.is_ok()))
}

/// Reports every change of the directories of network namespaces, which may not be there yet.
fn watch_directories(
    directories: &[PathBuf],
    changed: mpsc::Sender<()>,
) -> notify::Result<notify::RecommendedWatcher> {
    let ours = directories.to_vec();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Opening a file is an event too, and looking into a namespace opens one.
        let ours = event.map_or(true, |event| {
            let is_below = |path: &PathBuf| ours.iter().any(|ours| path.starts_with(ours));
            !event.kind.is_access() && event.paths.iter().any(is_below)
        });
        if ours {
            let _: Result<(), mpsc::error::TrySendError<()>> = changed.try_send(());
        }
    })?;
    for directory in directories {
        let existing = directory.ancestors().find(|path| path.is_dir());
        if let Some(existing) = existing {
            watcher.watch(existing, notify::RecursiveMode::NonRecursive)?;
        }
    }
    Ok(watcher)
}
