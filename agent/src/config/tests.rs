//! What flags mean, and which are refused.

use clap::Parser as _;

use super::*;
use crate::args::{Args, STATE_DIR, Verb};

fn config(flags: &[&str]) -> Result<Config, Failure> {
    let words = [&["--manifests", "policies"], flags].concat();
    parse(&words)
}

fn parse(flags: &[&str]) -> Result<Config, Failure> {
    let words = [&["ringfence", "agent"], flags].concat();
    match Args::try_parse_from(words).unwrap().verb {
        Verb::Agent(args) => Config::new(*args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_valid() {
    let config = config(&[]).unwrap();
    assert_eq!(config.mark, MarkLayout::DEFAULT);
    assert_eq!(config.http, Some("127.0.0.1:9765".parse().unwrap()));
    assert_eq!(config.metadata_annotations, AnnotatedPods::All);
}

#[test]
fn who_enforces_network_policy_is_told_or_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let found = |mode: &str| {
        let flags = ["--network-policy", mode, "--cni-dir", &path];
        config(&flags).unwrap().network_policy
    };
    assert_eq!(
        config(&[]).unwrap().network_policy.0,
        NetworkPolicy::Ringfence
    );
    assert_eq!(found("off").0, NetworkPolicy::Cni);
    assert_eq!(found("auto").0, NetworkPolicy::Ringfence);
    for (plugin, owner, says) in [
        (
            "flannel",
            NetworkPolicy::Ringfence,
            "on: flannel is not known",
        ),
        ("calico", NetworkPolicy::Cni, "off: Calico enforces it"),
    ] {
        let text = format!(r#"{{ "plugins": [ {{ "type": "{plugin}" }} ] }}"#);
        std::fs::write(directory.path().join("10-net.conflist"), text).unwrap();
        let (found, because) = found("auto");
        assert_eq!(found, owner, "{because}");
        assert!(because.starts_with(says), "{because}");
        // Whoever says it himself is believed.
        let flags = ["--network-policy", "on", "--cni-dir", &path];
        assert_eq!(
            config(&flags).unwrap().network_policy.0,
            NetworkPolicy::Ringfence
        );
    }
}

#[test]
fn bits_that_nobody_else_uses_may_be_chosen() {
    let flags = ["--mark-source-mask", "0x3f00", "--mark-proof-mask", "0x1"];
    let mark = config(&flags).unwrap().mark;
    assert_eq!((mark.source_mask, mark.proof_mask), (0x3f00, 0x1));
}

#[test]
fn a_bad_flag_is_named_with_what_it_allows() {
    for (flags, expect) in [
        (&["--http", "localhost"][..], "--http localhost"),
        (&["--mark-source-mask", "0x5"], "one unbroken run"),
        (&["--mark-proof-mask", "0x3fff0000"], "must not overlap"),
        (&["--mark-source-mask", "zebra"], "no 32-bit hexadecimal"),
        (
            &["--mark-source-mask", "0xff00"],
            "bits 0xc000 of the packet mark, which kube-proxy uses",
        ),
        (
            &["--mark-proof-mask", "0x4000"],
            "bits 0x4000 of the packet mark, which kube-proxy uses",
        ),
        (
            &["--mark-source-mask", "0xff0"],
            "bits 0x80 of the packet mark, which the AWS VPC CNI uses",
        ),
        (
            &["--metadata-annotations", "team in infra"],
            "--metadata-annotations team in infra",
        ),
        (&["--cell-entries", "0"], "--cell-entries 0"),
        (&["--netns-prefix", "a/b"], "--netns-prefix a/b"),
        (&["--nri-timeout", "0"], "--nri-timeout 0"),
        (&["--nri", "on"], "--node NAME"),
        (&["--audit-interval", "0"], "--audit-interval 0"),
        (&["--pod-processes", "on"], "--cgroup-root auto|DIR"),
    ] {
        let text = config(flags).unwrap_err().to_string();
        assert!(
            text.starts_with("error: ") && text.contains(expect),
            "{flags:?}: {text}"
        );
    }
}
#[test]
fn a_cluster_needs_the_name_of_the_node_and_no_manifests() {
    let text = parse(&["--kubeconfig", "k"]).unwrap_err().to_string();
    assert!(
        text.contains("--node is missing") && text.contains("RINGFENCE_NODE"),
        "{text}"
    );
    let config = parse(&["--kubeconfig", "k", "--node", "n1"]).unwrap();
    let Source::Cluster(cluster) = config.source else {
        panic!("a cluster")
    };
    assert_eq!(cluster.kubeconfig, Some("k".into()));
    assert_eq!(cluster.state_dir, Some(STATE_DIR.into()));
    assert_eq!(cluster.event_interval, Some(Duration::from_secs(300)));
    let silent = parse(&["--kube-event-interval", "0", "--node", "n1"]).unwrap();
    assert!(matches!(
        silent.source,
        Source::Cluster(Cluster {
            event_interval: None,
            pod: None,
            ..
        })
    ));
    let off = parse(&["--state-dir", "off", "--node", "n1"]).unwrap();
    assert!(matches!(
        off.source,
        Source::Cluster(Cluster {
            state_dir: None,
            ..
        })
    ));
    assert!(parse(&["--state-dir", "here", "--node", "n1"]).is_err());
    assert_eq!(cluster.places, Places::Ignored);
    let trusting = parse(&["--trust-place-annotations", "--node", "n1"]).unwrap();
    assert!(trusting.places_count());
    for mixed in ["--kubeconfig", "--context", "--state-dir"] {
        let words = ["ringfence", "agent", "--manifests", "m", mixed, "x"];
        let error = Args::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("cannot be used with"), "{error}");
    }
}
