//! The clouds' own client libraries, in pods: who is granted gets credentials, who is not gets an error at once, and the service
//! never hears of him.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use ringfence_agent::lab::{Actor, Lab, LabSpec, OutsideHost, names};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};
use serde_json::Value;

use super::{pod, pod_manifest};

const ADDRESS: &str = "169.254.169.254";
const GRANT: &str = ", metadata.ringfence.dev/access: imds";

/// Client, what it is given, the error that it shows an application instead.
const CLIENTS: [(&str, &str, &str); 4] = [
    ("aws", "ASIAOFTHENODE", "NoCredentialsError"),
    (
        "google",
        "project-of-the-node token-of-the-node",
        "DefaultCredentialsError",
    ),
    ("azure", "token-of-the-node", "CredentialUnavailableError"),
    ("aws-v1", "ASIAOFTHENODE", "URLError"),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdk")
}

/// The environment that `cargo xtask setup` makes; `None` if it could not.
fn python() -> Option<PathBuf> {
    let binary = ringfence_tests::lab::binary();
    // target/debug/ringfence
    let python = binary.parent()?.parent()?.join("sdk/bin/python");
    python.is_file().then_some(python)
}

/// Says that the test did not run, and why.
fn skipped(why: &str) {
    if let Some(path) = std::env::var_os("RINGFENCE_SKIPS") {
        let file = File::options().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "sdk: {why}"))
            .expect("the file of what is skipped can be written");
    }
}

/// The service, outside the node; ended when dropped.
struct Service {
    child: Child,
    requests: mpsc::Receiver<Value>,
}

impl Service {
    fn start(lab: &Lab, python: &Path, more: &[&str]) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &names::outside_netns(lab.name())])
            .arg(python)
            .arg(folder().join("service.py"))
            .args([ADDRESS, "80"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip is there");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("it starts").expect("a line");
        assert_eq!(first, "ready");
        let (tell, requests) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let request = serde_json::from_str(&line).expect("it tells JSON");
                if tell.send(request).is_err() {
                    break;
                }
            }
        });
        Self { child, requests }
    }

    /// Ends it: who has come.
    fn visitors(mut self) -> BTreeSet<IpAddr> {
        drop(self.child.kill());
        drop(self.child.wait());
        let requests = self.requests.iter();
        let visitors = requests.filter_map(|it| it["from"].as_str()?.parse().ok());
        visitors.collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ask(lab: &Lab, who: &Actor, python: &Path, client: &str) -> Value {
    let program = [
        "env".into(),
        "-u".into(),
        "http_proxy".into(),
        "-u".into(),
        "HTTP_PROXY".into(),
        // No credentials of whoever runs the test.
        "HOME=/nonexistent".into(),
        python.as_os_str().to_owned(),
        folder().join("client.py").into_os_string(),
        client.into(),
    ];
    let output = lab.exec(who, program).expect("the lab obeys");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{client}: {error}: {output:?}"))
}

fn lab(name: &str) -> Lab {
    let mut spec: LabSpec = small(name, &["a", "b"], &[80]);
    spec.outside.push(OutsideHost {
        name: "metadata".to_owned(),
        addresses: vec![ADDRESS.parse().expect("an address")],
        serves: Vec::new(),
        only_answers: true,
    });
    Lab::up(&spec).expect("a lab")
}

#[test]
fn the_clouds_own_libraries_get_credentials_by_a_grant_and_an_error_at_once_without() {
    let Some(python) = python() else {
        skipped("the clouds' client libraries are not installed: cargo xtask setup");
        return;
    };
    let lab = lab("sdk");
    let world = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned()
        + &pod_manifest("a", "a", 1, GRANT)
        + &pod_manifest("b", "b", 2, "");
    let _agent = Agent::start(&lab, &world, &[]);
    for more in [&[][..], &["--imdsv1"]] {
        let service = Service::start(&lab, &python, more);
        for (client, credentials, error) in CLIENTS {
            let strict = client == "aws-v1" && more.is_empty();
            let told = ask(&lab, &pod("a"), &python, client);
            if strict {
                assert_eq!(
                    told["error"], "HTTPError",
                    "the service wants a token: {told}"
                );
            } else {
                assert_eq!(told["credentials"], credentials, "{client}: {told}");
            }
            let told = ask(&lab, &pod("b"), &python, client);
            assert_eq!(told["error"], error, "{client}: {told}");
        }
        let own = addresses(1).into_iter().filter(IpAddr::is_ipv4);
        assert_eq!(service.visitors(), own.collect());
    }
}
