//! A guard that stays until an agent has taken over.

use std::{
    os::unix::net::UnixDatagram,
    process::{Child, Stdio},
    time::Duration,
};

use ringfence_agent::lab::{names, state};
use ringfence_tests::{agent::Agent, attacks::run_in, lab::eventually};

use super::{Scene, is_denied, world};

/// A guard that stays, once it has told its service manager that everything stands. It ends with the test.
struct Watching {
    child: Child,
    _directory: tempfile::TempDir,
}

impl Watching {
    fn start(scene: &Scene) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written");
        let socket = directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).expect("a short path");
        manager
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a socket");
        let child = scene
            .command(&["--watch"])
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary is there");
        let watching = Self {
            child,
            _directory: directory,
        };
        let mut word = [0; 64];
        let length = manager.recv(&mut word).expect("it says that it is ready");
        assert_eq!(&word[..length], b"READY=1");
        watching
    }

    /// True if it has ended, and well.
    fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child");
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
        ended.is_some()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<_> = self.child.wait();
    }
}

/// The pin of the program on a device of the node, by which a guard holds it.
fn pin(scene: &Scene, device: &str) -> std::path::PathBuf {
    let shown = run_in(&scene.node(), &format!("ip -o link show dev {device}")).expect("a device");
    let index = shown.split(':').next().unwrap_or_default();
    let links = state::bpffs(scene.lab.name()).join("v0/links");
    links.join(format!("{index}-to_host"))
}

#[test]
fn an_uplink_that_comes_before_the_agent_is_guarded_and_the_watch_ends_when_it_is_over() {
    let scene = Scene::up("guardwatch");
    let mut watching = Watching::start(&scene);
    assert!(pin(&scene, "uplink0").exists());

    let outside = names::outside_netns(scene.lab.name());
    let node = scene.node();
    for words in [
        format!("ip link add uplink1 type veth peer name eth1 netns {outside}"),
        "ip link set uplink1 up".to_owned(),
        "ip addr add 192.168.88.1/24 dev uplink1".to_owned(),
    ] {
        run_in(&node, &words).expect("the lab's");
    }
    for words in [
        "ip link set eth1 up",
        "ip addr add 192.168.88.2/24 dev eth1",
    ] {
        run_in(&outside, words).expect("the lab's");
    }
    let guarded = pin(&scene, "uplink1");
    eventually("the new uplink is guarded", || {
        guarded.exists().then_some(())
    });
    // From now on the way to metadata leads there.
    run_in(
        &node,
        "ip route replace 169.254.169.254/32 via 192.168.88.2",
    )
    .expect("the lab's");
    let before = scene.arrived();
    scene.knock("b");
    assert_eq!(scene.arrived(), before);
    assert!(!watching.has_ended());

    let agent = Agent::start(&scene.lab, &world(false), &[]);
    eventually("the watch is over", || watching.has_ended().then_some(()));
    scene.knock("b");
    assert!(is_denied(&scene.asks("b")));
    assert_eq!(scene.arrived(), before);
    assert!(!state::bpffs(scene.lab.name()).join("v0").exists());
    // One that starts late has nothing to do, and says at once that it is ready.
    let mut late = Watching::start(&scene);
    eventually("there is nothing to watch", || {
        late.has_ended().then_some(())
    });
    drop(agent);
    scene.lab.down().expect("it goes");
}

#[test]
fn detaching_takes_away_what_a_guard_has_put_up_and_ends_it() {
    let scene = Scene::up("guarddetach");
    let mut watching = Watching::start(&scene);
    let before = scene.arrived();
    scene.knock("b");
    assert_eq!(scene.arrived(), before);
    let agent = Agent::prepare(&scene.lab, &world(false), &[]);
    let output = agent.detach();
    assert!(output.status.success(), "{output:?}");
    eventually("the watch is over", || watching.has_ended().then_some(()));
    assert!(!state::bpffs(scene.lab.name()).join("v0").exists());
    eventually("the service is reached", || {
        scene.knock("b");
        (scene.arrived() > before).then_some(())
    });
    drop(agent);
    scene.lab.down().expect("it goes");
}
