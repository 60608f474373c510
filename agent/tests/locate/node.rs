//! A node of network namespaces: made, named, given devices and addresses, and removed again.

use std::{fs::File, net::IpAddr, os::fd::AsRawFd as _, path::PathBuf, process::Command, thread};

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::{InfoData, InfoVeth},
};

/// A namespace with a name, removed with the value.
pub(super) struct Namespace(String);

impl Namespace {
    pub(super) fn new(purpose: &str) -> Self {
        let name = format!("rf-test-{}-{purpose}", std::process::id());
        let made = Command::new("ip")
            .args(["netns", "add", &name])
            .status()
            .unwrap();
        assert!(made.success(), "ip netns add {name}");
        Self(name)
    }

    pub(super) fn open(&self) -> File {
        File::open(self.path()).unwrap()
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/run/netns/{}", self.0).into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failed removal must not hide why the test failed.
        let _: Result<_, _> = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Runs the test on a thread in a namespace of its own, which stands for the node.
pub(super) fn on_a_node<F: Future<Output = ()>>(test: impl FnOnce(Handle) -> F + Send + 'static) {
    let node = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        with_handle(test);
    });
    if let Err(panic) = node.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Does something with a handle on the thread's namespace.
fn with_handle<F: Future<Output = ()>>(act: impl FnOnce(Handle) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        act(handle).await;
    });
}

/// Lays a pair from here into a namespace.
pub(super) async fn lay(handle: &Handle, name: &str, other: &Namespace, inner: &str) -> u32 {
    let file = other.open();
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(inner)
        .setns_by_fd(file.as_raw_fd())
        .build();
    let veth = LinkVeth::new(name, inner)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    handle.link().add(veth).execute().await.unwrap();
    index(name)
}

pub(super) fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

/// Does something in another namespace.
pub(super) fn inside<F: Future<Output = ()>>(
    namespace: &Namespace,
    act: impl FnOnce(Handle) -> F + Send + 'static,
) {
    let file = namespace.open();
    let thread = thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
        with_handle(act);
    });
    thread.join().unwrap();
}

/// Adds an address on a device of another namespace.
pub(super) fn address_inside(namespace: &Namespace, device: &'static str, address: IpAddr) {
    inside(namespace, move |handle| async move {
        let added = handle.address().add(index(device), address, 32).execute();
        added.await.unwrap();
    });
}

/// Sets a device of another namespace up, with a way to everybody.
pub(super) fn up_inside(namespace: &Namespace, device: &'static str) {
    inside(namespace, move |handle| async move {
        let link = LinkMessageBuilder::<LinkUnspec>::new()
            .index(index(device))
            .up()
            .build();
        handle.link().set(link).execute().await.unwrap();
        let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .output_interface(index(device))
            .build();
        handle.route().add(route).execute().await.unwrap();
    });
}
