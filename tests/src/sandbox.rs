//! A thread with a network and a mount namespace of its own: what a test makes there goes with it.

use std::{fs, path::PathBuf, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Runs `body` in fresh namespaces, with the path of a bpffs that only it sees. Panics go through to the caller.
pub fn sandbox<R: Send + 'static>(body: impl FnOnce(PathBuf) -> R + Send + 'static) -> R {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("tests run as root");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .expect("a new mount namespace can be made private");
        let directory = tempfile::tempdir().expect("the temporary directory can be written");
        let bpffs = directory.path().join("bpf");
        fs::create_dir(&bpffs).expect("just made");
        mount(
            Some("bpf"),
            &bpffs,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("the kernel has bpffs");
        let result = body(bpffs.clone());
        nix::mount::umount2(&bpffs, nix::mount::MntFlags::MNT_DETACH).expect("mounted above");
        result
    };
    match thread::spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
