//! Ctrl-C and its like: noted, and acted upon where it can be done cleanly.
//!
//! A signal sets a flag; whoever works on a lab asks for it between steps and in every wait, gives up with an
//! error, and so lets the lab be taken down on the ordinary way out.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP are only noted.
pub fn watch() -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let handlers = {
        let _guard = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .map(|kind| signal(kind).context("cannot watch for signals"))
    };
    let [interrupt, terminate, hangup] = handlers;
    let (mut interrupt, mut terminate, mut hangup) = (interrupt?, terminate?, hangup?);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                REQUESTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

/// True once a signal came.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// An error once a signal came.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted")
    } else {
        Ok(())
    }
}
