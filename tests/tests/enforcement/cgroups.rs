//! Where kubelets put pods' cgroups, with real processes in them: each driver, each class of service, and nodes whose pods have none of
//! version 2. Every agent has a mount namespace of its own, in which `--cgroup-root auto` finds the layout that is tried.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ringfence_agent::lab::{Lab, names};
use ringfence_tests::agent::{Agent, get};

use super::{
    layers::standing,
    metadata::{endpoints, lab, shell_in, visitors, world},
    pod_manifest,
};

/// A pod's class of service, as its cgroup has it.
#[derive(Clone, Copy)]
enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Guaranteed => "",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

/// Name, UID, class; with the node's network; granted.
const PODS: [(&str, &str, Class, bool, bool); 6] = [
    ("a", "0a-1b", Class::Burstable, false, true),
    ("b", "0a-2c", Class::BestEffort, false, false),
    ("h", "0a-3d", Class::Guaranteed, true, true),
    ("i", "0a-4e", Class::Burstable, true, false),
    ("j", "0a-5f", Class::BestEffort, true, true),
    ("k", "0a-6a", Class::Guaranteed, true, false),
];

/// The roots that kubelets use: with the systemd driver, with the cgroupfs driver, and both below a root of the kubelet's own.
const ROOTS: [&str; 4] = [
    "kubepods.slice",
    "kubepods",
    "kubelet.slice/kubelet-kubepods.slice",
    "kubelet/kubepods",
];

/// The cgroup of a pod's container below such a root, as the kubelet and the runtime name it.
fn container(root: &str, uid: &str, class: Class) -> PathBuf {
    let stem = root
        .rsplit('/')
        .next()
        .and_then(|it| it.strip_suffix(".slice"));
    let class = class.word();
    match (stem, class) {
        (Some(stem), "") => Path::new(&format!("{stem}-pod{}.slice", uid.replace('-', "_")))
            .join("cri-containerd-1.scope"),
        (Some(stem), _) => Path::new(&format!("{stem}-{class}.slice"))
            .join(format!("{stem}-{class}-pod{}.slice", uid.replace('-', "_")))
            .join("cri-containerd-1.scope"),
        (None, "") => Path::new(&format!("pod{uid}")).join("1"),
        (None, _) => Path::new(class).join(format!("pod{uid}")).join("1"),
    }
}

/// The pods, and a grant for those that have one.
fn manifests() -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned();
    for (name, uid, _, host, granted) in PODS {
        let label = if granted { "granted" } else { "denied" };
        if host {
            text += &format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: t, uid: {uid}, labels: {{ app: {label} }} }}\n\
                 spec: {{ nodeName: w1, hostNetwork: true, containers: [] }}\nstatus: {{ phase: Running, podIPs: [ {{ ip: 10.0.9.1 }} ] }}\n"
            );
        } else {
            let number = if name == "a" { 1 } else { 2 };
            let pod = pod_manifest(name, label, number, "");
            text += &pod.replace(
                "  namespace: t\n",
                &format!("  namespace: t\n  uid: {uid}\n"),
            );
        }
    }
    text + "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataAccess\nmetadata: { name: g }\nspec:\n  podAnnotation: Ignored\n  \
            subjects: [ { namespaceSelector: {}, podSelector: { matchLabels: { app: granted } } } ]\n"
}

/// A directory of cgroups that goes with all that is below it; nothing else is touched.
struct Tree(PathBuf);

impl Tree {
    /// In the hierarchy that is mounted there.
    fn new(mount: &Path, lab: &Lab) -> Self {
        let root = mount.join(format!("rf-{}-layout", lab.name()));
        fs::create_dir(&root).expect("tests run as root");
        Self(root)
    }

    fn make(&self, below: &Path) -> PathBuf {
        let path = self.0.join(below);
        fs::create_dir_all(&path).expect("tests run as root");
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fn remove(path: &Path) {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            for entry in entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir())) {
                remove(&entry.path());
            }
            // A process that is still about to end keeps it; the next run's has another name.
            let _: std::io::Result<()> = fs::remove_dir(path);
        }
        remove(&self.0);
    }
}

fn netns(lab: &Lab, name: &str, host: bool) -> String {
    if host {
        names::node_netns(lab.name())
    } else {
        format!("{}{name}", names::netns_prefix(lab.name()))
    }
}

fn metric(agent: &Agent, layer: &str) -> Option<String> {
    let metrics = get(&agent.run_dir(), "/metrics")?;
    let layer = format!("layer=\"{layer}\"");
    let mut lines = metrics.lines();
    let line =
        lines.find(|it| it.starts_with("ringfence_metadata_layer{") && it.contains(&layer))?;
    line.rsplit(' ').next().map(str::to_owned)
}

#[test]
fn grants_and_denials_work_where_each_driver_puts_pods() {
    let lab = lab("layouts");
    let mount = names::pods_cgroup(lab.name()).unwrap();
    let mount = mount.parent().expect("it is below the mount point");
    for root in ROOTS {
        let tree = Tree::new(mount, &lab);
        let cgroups: Vec<PathBuf> = PODS
            .iter()
            .map(|(_, uid, class, ..)| {
                tree.make(&Path::new(root).join(container(root, uid, *class)))
            })
            .collect();
        let unknown = tree.make(&Path::new(root).join(container(root, "0a-ff", Class::Burstable)));
        let seen = tempfile::tempdir().unwrap();
        let mut agent = Agent::start_with_mount(
            &lab,
            &manifests(),
            &["--cgroup-root", "auto", "--node", "w1"],
            (&tree.0, seen.path()),
        );
        let hooks = agent.json(&["status"])["socketHooks"].clone();
        assert_eq!(hooks, seen.path().join(root).display().to_string());
        assert_eq!(standing(&agent).len(), 5);
        let to = endpoints()[0].to_string();
        for ((name, _, _, host, granted), cgroup) in PODS.iter().zip(&cgroups) {
            let before = visitors(&lab);
            let said = shell_in(&netns(&lab, name, *host), cgroup, &to);
            let expect = if *granted { "reached" } else { "not permitted" };
            assert!(said.contains(expect), "{root}: {name}: {said}");
            if !granted {
                assert_eq!(visitors(&lab), before, "{root}: {name}");
            }
        }
        for (name, host) in [("a", false), ("h", true)] {
            let said = shell_in(&netns(&lab, name, host), &unknown, &to);
            assert!(
                said.contains("not permitted"),
                "{root}: in nobody's: {said}"
            );
        }
        agent.kill();
        let detached = agent.detach();
        assert!(detached.status.success(), "{detached:?}");
    }
    lab.down().unwrap();
}

#[test]
fn where_pods_have_cgroups_of_version_1_only_the_other_layers_stand_and_that_is_told() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let hierarchy = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let own = kind.starts_with("cgroup ") && kind.ends_with(",pids");
        own.then(|| mount.split(' ').nth(4)).flatten()
    });
    let Some(hierarchy) = hierarchy else {
        eprintln!("skipping: this machine has no cgroups of version 1");
        return;
    };
    let lab = lab("hybrid");
    let tree = Tree::new(Path::new(hierarchy), &lab);
    let cgroup = tree.make(Path::new("kubepods/burstable/pod0a-2c/1"));
    let seen = tempfile::tempdir().unwrap();
    let agent = Agent::start_with_mount(
        &lab,
        &world(true),
        &["--cgroup-root", "auto"],
        (&tree.0, seen.path()),
    );
    assert_eq!(standing(&agent), ["from-pod", "to-host", "lo"]);
    let status = agent.json(&["status"]);
    let hooks = status["socketHooks"].as_str().expect("a text").to_owned();
    assert!(hooks.contains("version 1 only"), "{hooks}");
    let layers = status["metadataLayers"].to_string();
    assert!(layers.contains("not told from the node's own"), "{layers}");
    for (layer, value) in [
        ("from-pod", "1"),
        ("to-host", "1"),
        ("sockets", "0"),
        ("socket-packets", "0"),
    ] {
        assert_eq!(metric(&agent, layer).as_deref(), Some(value), "{layer}");
    }
    let to = endpoints()[0].to_string();
    let granted = shell_in(&netns(&lab, "a", false), &cgroup, &to);
    assert!(granted.contains("reached"), "{granted}");
    let before = visitors(&lab);
    let denied = shell_in(&netns(&lab, "b", false), &cgroup, &to);
    assert!(
        !denied.contains("reached") && !denied.contains("not permitted"),
        "dropped: {denied}"
    );
    assert_eq!(visitors(&lab), before);
    // What is told: nothing but a cgroup tells these from the node.
    let host = shell_in(&netns(&lab, "", true), &cgroup, &to);
    assert!(host.contains("reached"), "{host}");
    drop(agent);
    drop(tree);
    lab.down().unwrap();
}
