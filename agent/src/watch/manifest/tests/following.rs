//! Real files that change while they are followed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    index::{State, follow},
    watch::{Manifests, Options},
};

/// Longer than any change may take to be seen.
const LIMIT: Duration = Duration::from_secs(20);

struct Followed {
    directory: tempfile::TempDir,
    states: watch::Receiver<Arc<State>>,
}

impl Followed {
    /// Follows a path in a directory that was prepared.
    fn new(prepare: impl FnOnce(&Path), path: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let paths: Vec<PathBuf> = vec![directory.path().join(path)];
        let (states, _task) = follow(Manifests::new(paths, Options::default()));
        Self { directory, states }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Writes beside the file and renames, as careful editors do.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.directory.path().join(format!(".{name}.tmp"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.directory.path().join(name)).unwrap();
    }

    async fn until(
        &mut self,
        what: &str,
        condition: impl FnMut(&Arc<State>) -> bool,
    ) -> Arc<State> {
        let state = match timeout(LIMIT, self.states.wait_for(condition)).await {
            Ok(state) => state.as_ref().map(|state| Arc::clone(state)).ok(),
            Err(_) => None,
        };
        state.unwrap_or_else(|| panic!("never {what}: {:#?}", self.states.borrow()))
    }

    async fn until_pods(&mut self, names: &[&str]) -> Arc<State> {
        let has = |state: &Arc<State>| {
            state.synced
                && state
                    .snapshot
                    .pods
                    .keys()
                    .map(|key| key.name.as_str())
                    .eq(names.iter().copied())
        };
        self.until(&format!("pods {names:?}"), has).await
    }

    async fn until_good(&mut self) -> Arc<State> {
        self.until("without diagnostics", |state| {
            state.synced && state.diagnostics.is_empty()
        })
        .await
    }

    async fn until_complaint(&mut self, part: &str) -> Arc<State> {
        let complains = |state: &Arc<State>| {
            state
                .diagnostics
                .iter()
                .any(|diagnostic| diagnostic.to_string().contains(part))
        };
        self.until(part, complains).await
    }
}

fn pods(names: &[&str]) -> String {
    let pod = |name: &&str| format!("---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n");
    names.iter().map(pod).collect()
}

fn policy(body: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: \
         {{podSelector: {{matchLabels: {{app: db}}}}{body}}}\n"
    )
}

#[tokio::test]
async fn edits_renames_new_files_and_deletions_are_seen() {
    let mut followed = Followed::new(
        |path| fs::write(path.join("a.yaml"), pods(&["a"])).unwrap(),
        "",
    );
    followed.until_pods(&["a"]).await;
    followed.write("a.yaml", &pods(&["a", "b"]));
    followed.until_pods(&["a", "b"]).await;
    followed.replace("a.yaml", &pods(&["c"]));
    followed.until_pods(&["c"]).await;
    fs::create_dir_all(followed.directory.path().join("x/y")).unwrap();
    followed.write("x/y/d.yml", &pods(&["d"]));
    followed.until_pods(&["c", "d"]).await;
    followed.write("x/y/d.yml", &pods(&["e"]));
    followed.until_pods(&["c", "e"]).await;
    // To another file: the object is the same.
    fs::rename(
        followed.directory.path().join("x/y/d.yml"),
        followed.directory.path().join("e.yml"),
    )
    .unwrap();
    let state = followed
        .until("moved", |state| {
            state
                .snapshot
                .pods
                .values()
                .any(|pod| pod.origin.file.ends_with("e.yml"))
        })
        .await;
    assert_eq!(state.snapshot.pods.len(), 2);
    fs::remove_file(followed.directory.path().join("e.yml")).unwrap();
    followed.until_pods(&["c"]).await;
    fs::remove_dir_all(followed.directory.path().join("x")).unwrap();
    fs::create_dir(followed.directory.path().join("x")).unwrap();
    followed.write("x/f.yaml", &pods(&["f"]));
    followed.until_pods(&["c", "f"]).await;
}

#[tokio::test]
async fn what_breaks_stays_in_force_until_it_is_mended() {
    let mut followed = Followed::new(
        |path| fs::write(path.join("a.yaml"), pods(&["a", "b"])).unwrap(),
        "",
    );
    followed.until_pods(&["a", "b"]).await;
    // The whole file.
    followed.write("a.yaml", "a: [\n");
    let state = followed.until_complaint("a.yaml:2: not YAML").await;
    assert_eq!(state.snapshot.pods.len(), 2);
    // One object, that can be told.
    followed.write("a.yaml", &format!("{}bad: 1\n", pods(&["c", "b"])));
    let state = followed
        .until_complaint("Pod/default/b: bad: unknown field `bad`")
        .await;
    assert!(
        state
            .snapshot
            .pods
            .keys()
            .map(|key| key.name.as_str())
            .eq(["b", "c"])
    );
    // One object, that cannot be told: it may be any of those before.
    followed.write(
        "a.yaml",
        &format!("{}---\napiVersion: v1\nknd: Pod\n", pods(&["d"])),
    );
    let state = followed.until_complaint("`kind` is missing").await;
    assert!(
        state
            .snapshot
            .pods
            .keys()
            .map(|key| key.name.as_str())
            .eq(["b", "c", "d"])
    );
    followed.replace("a.yaml", &pods(&["d"]));
    let state = followed.until_good().await;
    assert!(
        state
            .snapshot
            .pods
            .keys()
            .map(|key| key.name.as_str())
            .eq(["d"])
    );
    // The directory itself.
    let (here, away) = (
        followed.directory.path().join("x"),
        followed.directory.path().join(".x"),
    );
    fs::create_dir(&here).unwrap();
    followed.write("x/e.yaml", &pods(&["e"]));
    followed.until_pods(&["d", "e"]).await;
    fs::rename(&here, &away).unwrap();
    followed.until_pods(&["d"]).await;
    fs::rename(&away, &here).unwrap();
    followed.until_pods(&["d", "e"]).await;
}

#[tokio::test]
async fn a_root_that_vanishes_takes_nothing_out_of_force_and_may_come_back() {
    let prepare = |path: &Path| {
        fs::create_dir(path.join("m")).unwrap();
        fs::write(path.join("m/a.yaml"), pods(&["a"])).unwrap();
    };
    let mut followed = Followed::new(prepare, "m");
    followed.until_pods(&["a"]).await;
    let (here, away) = (
        followed.directory.path().join("m"),
        followed.directory.path().join("n"),
    );
    fs::rename(&here, &away).unwrap();
    let state = followed.until_complaint("cannot be read").await;
    assert_eq!(state.snapshot.pods.len(), 1);
    fs::create_dir(&here).unwrap();
    followed.write("m/b.yaml", &pods(&["b"]));
    followed.until_pods(&["b"]).await;
    followed.write("m/b.yaml", &pods(&["c"]));
    followed.until_pods(&["c"]).await;
}

#[tokio::test]
async fn nothing_is_delivered_before_every_file_can_be_read() {
    let prepare = |path: &Path| {
        fs::write(path.join("a.yaml"), pods(&["a"])).unwrap();
        fs::write(path.join("b.yaml"), "b: [\n").unwrap();
        fs::write(path.join("c.yaml"), policy(", ingres: []")).unwrap();
    };
    let mut followed = Followed::new(prepare, "");
    let state = followed.until_complaint("b.yaml:2: not YAML").await;
    assert!(!state.synced && state.snapshot.pods.is_empty());
    followed.write("b.yaml", &pods(&["b"]));
    let state = followed.until_pods(&["a", "b"]).await;
    // A policy that never was good isolates.
    let substitute = state.snapshot.policies.values().next().unwrap();
    assert_eq!(substitute.subject.requirements.len(), 1);
    assert_eq!(
        (&substitute.ingress, &substitute.egress),
        (&Some(vec![]), &Some(vec![]))
    );
    followed.write("c.yaml", &policy(", ingress: []"));
    let state = followed.until_good().await;
    assert!(
        state
            .snapshot
            .policies
            .values()
            .all(|policy| policy.egress.is_none())
    );
}

#[tokio::test]
async fn an_object_that_comes_to_stand_twice_keeps_its_state() {
    let prepare = |path: &Path| fs::write(path.join("b.yaml"), policy(", ingress: [{}]")).unwrap();
    let mut followed = Followed::new(prepare, "");
    let before = followed.until_good().await;
    followed.write("a.yaml", &policy(""));
    let state = followed.until_complaint("the same object stands at").await;
    assert_eq!(state.snapshot, before.snapshot);
    fs::remove_file(followed.directory.path().join("b.yaml")).unwrap();
    let state = followed.until_good().await;
    assert_eq!(
        state.snapshot.policies.values().next().unwrap().ingress,
        Some(vec![])
    );
}

#[tokio::test]
async fn one_file_is_followed_through_renames_and_links() {
    let mut followed = Followed::new(
        |path| fs::write(path.join("a.yaml"), pods(&["a"])).unwrap(),
        "a.yaml",
    );
    followed.until_pods(&["a"]).await;
    followed.write("other.yaml", "a: [\n");
    followed.replace("a.yaml", &pods(&["b"]));
    assert!(followed.until_pods(&["b"]).await.diagnostics.is_empty());
    fs::remove_file(followed.directory.path().join("a.yaml")).unwrap();
    followed.until_complaint("cannot be read").await;
    followed.write("real.txt", &pods(&["c"]));
    symlink("real.txt", followed.directory.path().join("a.yaml")).unwrap();
    followed.until_pods(&["c"]).await;
    followed.write("real.txt", &pods(&["d"]));
    followed.until_pods(&["d"]).await;
}

#[tokio::test]
async fn a_mounted_volume_is_swapped_as_one_change() {
    // As kubelet lays it out: the files are links through `..data`, which is swapped.
    let version = |path: &Path, name: &str, pod: &str| {
        let here = path.join(name);
        fs::create_dir(&here).unwrap();
        fs::write(here.join("a.yaml"), pods(&[pod])).unwrap();
        fs::write(here.join("b.yaml"), policy("")).unwrap();
        symlink(name, path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    let prepare = |path: &Path| {
        version(path, "..1", "a");
        symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
        symlink("..data/b.yaml", path.join("b.yaml")).unwrap();
    };
    let mut followed = Followed::new(prepare, "");
    followed.until_pods(&["a"]).await;
    for (name, pod) in [("..2", "b"), ("..3", "c")] {
        version(followed.directory.path(), name, pod);
        let state = followed.until_pods(&[pod]).await;
        assert_eq!(state.snapshot.policies.len(), 1);
    }
    fs::remove_dir_all(followed.directory.path().join("..1")).unwrap();
    version(followed.directory.path(), "..4", "d");
    followed.until_pods(&["d"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_rewritten_in_place_is_never_seen_half() {
    let prepare = |path: &Path| fs::write(path.join("a.yaml"), policy("")).unwrap();
    let mut followed = Followed::new(prepare, "");
    followed.until_good().await;
    let file = followed.directory.path().join("a.yaml");
    let writer = tokio::task::spawn_blocking(move || {
        for round in 0..200 {
            // In pieces, each of which is good YAML, and the first one is nothing at all.
            let text = format!("{}---\n{}", pods(&[&format!("p{round}")]), policy(""));
            let mut file = fs::File::create(&file).unwrap();
            for piece in text.split_inclusive('\n') {
                file.write_all(piece.as_bytes()).unwrap();
                std::thread::yield_now();
            }
        }
    });
    let done = |state: &Arc<State>| {
        assert_eq!(
            state.snapshot.policies.len(),
            1,
            "a state without the policy"
        );
        state.snapshot.pods.keys().any(|key| key.name == "p199")
    };
    followed.until("at the last round", done).await;
    writer.await.unwrap();
}
