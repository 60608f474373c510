//! The follower beside a server that says what a script says.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame},
};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    super::{Batch, Event, Health, Kind, Object, Places},
    custom::{ClusterNetworkPolicy, Custom, SecurityZone, ZonePolicy},
    follow::{SILENCE, follow},
    outlet::Outlet,
    resource::{Namespace, Pod, Resource},
};

/// What is answered to one request.
enum Answer {
    /// A status and a body.
    Whole(u16, Value),
    /// Lines, and the end.
    Lines(Vec<Value>),
    /// Lines, and no end.
    Open(Vec<Value>),
}

struct Scene {
    batches: mpsc::Receiver<Batch>,
    health: Arc<Health>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Plays answers to a follower of namespaces; what is asked beyond them gets an error.
fn play(answers: Vec<Answer>) -> Scene {
    play_to::<Namespace>(answers, Places::Ignored, SILENCE)
}

fn play_to<R: Resource>(answers: Vec<Answer>, places: Places, silence: Duration) -> Scene {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        log.lock().unwrap().push(request.uri().to_string());
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let lines = |lines: Vec<Value>| -> String {
                lines.iter().map(|line| format!("{line}\n")).collect()
            };
            let (status, body) = match answer {
                None => (500, Either::Left(Full::from("{}"))),
                Some(Answer::Whole(status, body)) => {
                    (status, Either::Left(Full::from(body.to_string())))
                }
                Some(Answer::Lines(text)) => (200, Either::Left(Full::from(lines(text)))),
                Some(Answer::Open(text)) => {
                    let first = Ok::<_, Infallible>(Frame::data(Bytes::from(lines(text))));
                    let stream = futures::StreamExt::chain(
                        futures::stream::iter([first]),
                        futures::stream::pending(),
                    );
                    (200, Either::Right(StreamBody::new(stream)))
                }
            };
            let response = Response::builder().status(status).body(body.boxed_unsync());
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let client = Client::new(service, "default");
    let (sender, batches) = mpsc::channel(16);
    let health = Arc::new(Health::default());
    health.expect(&[R::KIND]);
    let outlet = Outlet::new(sender, Arc::clone(&health), places);
    tokio::spawn(follow::<R>(client, outlet, silence));
    Scene {
        batches,
        health,
        asked,
    }
}

impl Scene {
    /// The next events but diagnostics, in short.
    async fn next(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        while told.len() < count {
            for event in self.batches.recv().await.expect("the follower lives") {
                told.extend(match event {
                    Event::Init(_) => Some("init".to_owned()),
                    Event::InitDone(_) | Event::Recalled(_) => Some("done".to_owned()),
                    Event::Apply(read) => Some(format!("+{}", read.key.name)),
                    Event::Delete(key) => Some(format!("-{}", key.name)),
                    Event::Broken(_) => Some("broken".to_owned()),
                    Event::Diagnostics(_) => None,
                });
            }
        }
        told
    }

    /// The next diagnostics that name something.
    async fn complaint(&mut self) -> String {
        loop {
            for event in self.batches.recv().await.expect("the follower lives") {
                if let Event::Diagnostics(all) = event
                    && let Some(first) = all.first()
                {
                    return first.to_string();
                }
            }
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn object(name: &str, version: &str) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version } })
}

fn event(what: &str, name: &str, version: &str) -> Value {
    json!({ "type": what, "object": object(name, version) })
}

fn end_of_list(version: &str) -> Value {
    json!({ "type": "BOOKMARK", "object": {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "resourceVersion": version, "annotations": { "k8s.io/initial-events-end": "true" } },
    } })
}

fn failure(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
            "reason": if code == 410 { "Expired" } else if code == 403 { "Forbidden" } else { "Invalid" } })
}

/// A list of one, by a server that is so far.
fn at(version: &str) -> Answer {
    let metadata = json!({ "resourceVersion": version, "continue": "more" });
    Answer::Whole(
        200,
        json!({ "metadata": metadata, "items": [object("a", "5")] }),
    )
}

fn gone() -> Value {
    json!({ "type": "ERROR", "object": failure(410, "too old resource version") })
}

#[tokio::test]
async fn a_list_comes_as_a_watch_and_is_followed_by_changes() {
    let mut scene = play(vec![Answer::Open(vec![
        event("ADDED", "a", "5"),
        end_of_list("7"),
        event("ADDED", "b", "8"),
        event("DELETED", "a", "9"),
    ])]);
    assert_eq!(scene.next(5).await, ["init", "+a", "done", "+b", "-a"]);
    assert!(scene.health.is_synced());
    let asked = scene.asked();
    assert!(
        asked.len() == 1
            && asked[0].contains("sendInitialEvents=true")
            && asked[0].ends_with("resourceVersion="),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_list_that_breaks_off_changes_nothing_and_is_read_again() {
    let mut scene = play(vec![
        Answer::Lines(vec![event("ADDED", "half", "5")]),
        Answer::Open(vec![event("ADDED", "a", "5"), end_of_list("7")]),
    ]);
    assert!(scene.complaint().await.contains("broke off"));
    assert!(!scene.health.is_synced());
    assert_eq!(scene.next(3).await, ["init", "+a", "done"]);
}

#[tokio::test]
async fn a_server_without_streamed_lists_is_asked_for_pages() {
    let refusal = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    let page = |name: &str, next: &str| json!({ "metadata": { "resourceVersion": "7", "continue": next }, "items": [object(name, "5")] });
    let mut scene = play(vec![
        Answer::Whole(422, failure(422, refusal)),
        Answer::Whole(200, page("a", "more")),
        Answer::Whole(200, page("b", "")),
        Answer::Open(vec![event("ADDED", "c", "8")]),
    ]);
    assert_eq!(scene.next(5).await, ["init", "+a", "+b", "done", "+c"]);
    let asked = scene.asked();
    assert!(asked[2].contains("continue=more"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=7"), "{asked:?}");
}

#[tokio::test]
async fn too_old_means_to_read_everything_again() {
    for too_old in [
        Answer::Lines(vec![gone()]),
        Answer::Whole(410, failure(410, "too old resource version")),
        // A server that is behind what it said before.
        Answer::Lines(vec![event("ADDED", "z", "3")]),
    ] {
        let mut scene = play(vec![
            Answer::Lines(vec![event("ADDED", "a", "5"), end_of_list("7")]),
            at("7"),
            too_old,
            Answer::Open(vec![event("ADDED", "b", "9"), end_of_list("9")]),
        ]);
        let told = scene.next(6).await;
        assert_eq!(told, ["init", "+a", "done", "init", "+b", "done"]);
        let asked = scene.asked();
        assert!(
            asked[1].contains("limit=1") && !asked[1].contains("watch="),
            "{asked:?}"
        );
        assert!(
            asked[2].contains("resourceVersion=7") && !asked[2].contains("sendInitialEvents"),
            "{asked:?}"
        );
        let health = scene.health.kinds()[&Kind::Namespace].clone();
        assert_eq!((health.errors, health.trouble), (1, None));
    }
}

/// A server that goes back asks for everything again, whether it says so, shows it, or only is silent.
#[tokio::test]
async fn a_version_that_is_yet_to_come_is_not_waited_for() {
    let too_large = failure(504, "Too large resource version: 7, current: 3");
    for (answers, why) in [
        (vec![at("3")], "knows less than before"),
        (
            vec![at("7"), Answer::Whole(504, too_large)],
            "Too large resource version",
        ),
        (
            vec![at("7"), Answer::Open(vec![]), at("3")],
            "knows less than before",
        ),
    ] {
        let mut script = vec![Answer::Lines(vec![
            event("ADDED", "a", "5"),
            end_of_list("7"),
        ])];
        script.extend(answers);
        script.push(Answer::Open(vec![
            event("ADDED", "b", "2"),
            end_of_list("3"),
        ]));
        let silence = Duration::from_millis(300);
        let mut scene = play_to::<Namespace>(script, Places::Ignored, silence);
        assert_eq!(scene.next(3).await, ["init", "+a", "done"]);
        assert!(scene.complaint().await.contains(why), "{why}");
        assert_eq!(scene.next(3).await, ["init", "+b", "done"], "{why}");
    }
}

#[tokio::test]
async fn who_is_silent_and_has_nothing_to_say_is_followed_further() {
    let script = vec![
        Answer::Lines(vec![event("ADDED", "a", "5"), end_of_list("7")]),
        at("7"),
        Answer::Open(vec![]),
        at("9"),
        Answer::Open(vec![event("ADDED", "b", "10")]),
    ];
    let silence = Duration::from_millis(300);
    let mut scene = play_to::<Namespace>(script, Places::Ignored, silence);
    assert_eq!(scene.next(4).await, ["init", "+a", "done", "+b"]);
    let health = scene.health.kinds()[&Kind::Namespace].clone();
    assert_eq!((health.errors, health.trouble), (0, None));
    let asked = scene.asked.lock().unwrap();
    assert!(asked[4].contains("resourceVersion=7"), "{asked:?}");
}

#[tokio::test]
async fn what_is_refused_is_said_with_what_to_grant() {
    let said = "namespaces is forbidden: User \"x\" cannot watch resource \"namespaces\"";
    let mut scene = play(vec![
        Answer::Whole(403, failure(403, said)),
        Answer::Open(vec![end_of_list("7")]),
    ]);
    let complaint = scene.complaint().await;
    for part in ["watch/Namespace", "get, list and watch", said] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    assert_eq!(scene.next(2).await, ["init", "done"]);
    assert_eq!(scene.health.kinds()[&Kind::Namespace].trouble, None);
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_define_has_no_objects_until_it_does() {
    let undefined = |name: &str| {
        let mut status = failure(404, "not found");
        status["reason"] = "NotFound".into();
        status["details"] = json!({ "name": name, "kind": "customresourcedefinitions" });
        status
    };
    let zone = json!({ "type": "ADDED", "object": {
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "SecurityZone",
        "metadata": { "name": "db", "resourceVersion": "5", "managedFields": [] },
        "spec": { "members": [] }, "status": { "podCount": 3, "unknown": 1 },
    } });
    // Who may not ask for it is told so before whether it is there.
    for refused in [failure(404, "not found"), failure(403, "forbidden")] {
        let mut scene = play_to::<Custom<SecurityZone>>(
            vec![
                Answer::Whole(
                    u16::try_from(refused["code"].as_u64().unwrap()).unwrap(),
                    refused,
                ),
                Answer::Whole(404, undefined("securityzones.ringfence.dev")),
                Answer::Open(vec![zone.clone(), end_of_list("7")]),
            ],
            Places::Ignored,
            SILENCE,
        );
        assert_eq!(scene.next(2).await, ["init", "done"]);
        assert!(scene.health.is_synced());
        assert_eq!(scene.next(3).await, ["init", "+db", "done"]);
        let asked = scene.asked();
        assert!(
            asked[0].starts_with("/apis/ringfence.dev/v1alpha1/securityzones?"),
            "{asked:?}"
        );
        assert!(
            asked[1].ends_with("/customresourcedefinitions/securityzones.ringfence.dev"),
            "{asked:?}"
        );
        let health = scene.health.kinds()[&Kind::SecurityZone].clone();
        assert_eq!((health.errors, health.trouble), (0, None));
    }
    // What is defined, and what is not found for another reason, is not taken for absent.
    for answer in [
        Answer::Whole(200, json!({ "metadata": {} })),
        Answer::Whole(404, json!("404 page not found")),
    ] {
        let mut scene = play_to::<Custom<ClusterNetworkPolicy>>(
            vec![Answer::Whole(404, failure(404, "not found")), answer],
            Places::Ignored,
            SILENCE,
        );
        let complaint = scene.complaint().await;
        assert!(
            complaint.contains("does not serve clusternetworkpolicies"),
            "{complaint}"
        );
        assert!(!scene.health.is_synced());
    }
}

#[tokio::test]
async fn an_object_of_the_api_that_its_definition_does_not_allow_is_broken() {
    let policy = |version: &str, more: &str| {
        let peers = json!([{ "entity": "Any" }]);
        let mut rule = json!({ "name": "a", "action": "Allow", "from": peers, "to": peers });
        if !more.is_empty() {
            rule[more] = 1.into();
        }
        let metadata = json!({ "name": "p", "resourceVersion": version });
        json!({ "type": "ADDED", "object": { "metadata": metadata, "spec": { "rules": [rule] } } })
    };
    let mut scene = play_to::<Custom<ZonePolicy>>(
        vec![Answer::Open(vec![
            policy("5", "later"),
            end_of_list("7"),
            policy("8", ""),
        ])],
        Places::Ignored,
        SILENCE,
    );
    assert_eq!(scene.next(4).await, ["init", "broken", "done", "+p"]);
}

#[tokio::test]
async fn what_a_pod_of_the_api_says_of_its_place_counts_only_if_it_is_trusted() {
    let pod = |name: &str, version: &str| {
        json!({ "metadata": {
            "name": name, "namespace": "t", "resourceVersion": version,
            "annotations": {
                "ringfence.dev/netns": "n", "ringfence.dev/interface": "eth0", "ringfence.dev/cgroup": "c",
                "metadata.ringfence.dev/access": "yes",
            },
        } })
    };
    for (places, kept) in [(Places::Ignored, 1), (Places::Trusted, 4)] {
        let mut scene = play_to::<Pod>(
            vec![Answer::Open(vec![
                json!({ "type": "ADDED", "object": pod("listed", "5") }),
                end_of_list("6"),
                json!({ "type": "MODIFIED", "object": pod("changed", "7") }),
            ])],
            places,
            SILENCE,
        );
        let mut said = Vec::new();
        while said.len() < 2 {
            for event in scene.batches.recv().await.expect("the follower lives") {
                if let Event::Apply(read) = event
                    && let Object::Pod(pod) = read.object
                {
                    said.push(pod.metadata.annotations.unwrap().len());
                }
            }
        }
        assert_eq!(said, [kept, kept], "{places:?}");
    }
}
