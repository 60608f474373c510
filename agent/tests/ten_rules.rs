//! The ten rules of a hybrid cloud in `deploy/examples/hybrid-cloud/zones`, each by what it opens and what it closes.

use std::path::Path;

use ringfence_agent::{
    compile::{Asker, Party, Question},
    index,
    model::{PodKey, Protocol, Snapshot, ZonePeer},
    watch,
};
use ringfence_common::cell::Verdict;

fn example() -> Snapshot {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/examples/hybrid-cloud/zones/manifests");
    index::load(&[manifests], watch::Options::default()).expect("the example is in order")
}

#[test]
fn every_zone_that_a_rule_names_is_there() {
    let snapshot = example();
    let counts = [
        snapshot.zones.len(),
        snapshot.zone_policies.len(),
        snapshot.tenants.len(),
        snapshot.grants.len(),
    ];
    assert_eq!(counts, [14, 10, 1, 1]);
    // Every zone that a rule names is there.
    let names = |peers: &[ZonePeer]| -> Vec<String> {
        let names = peers.iter().filter_map(|peer| match peer {
            ZonePeer::Zone(name) => Some(name.clone()),
            ZonePeer::Entity(_) => None,
        });
        names.collect()
    };
    for rule in snapshot.zone_policies.values().flat_map(|it| &it.rules) {
        let except = rule.except.iter();
        let except = except.flat_map(|it| it.from.iter().chain(&it.to).flatten().cloned());
        let except: Vec<ZonePeer> = except.collect();
        for name in [&rule.from, &rule.to, &except].map(|it| names(it)).concat() {
            assert!(snapshot.zones.contains_key(&name), "{}: {name}", rule.name);
        }
    }
}

#[test]
fn each_rule_opens_and_closes_what_it_should() {
    let snapshot = example();
    let asker = Asker::new(&snapshot);
    let party = |text: &str| match text.split_once('/') {
        Some((namespace, name)) => Party::Pod(PodKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        None => Party::Address(text.parse().unwrap()),
    };
    const INTERNET: &str = "203.0.113.50";
    const MASTER: &str = "10.0.0.2";
    const VPN: &str = "10.20.99.20";
    const JUMP_BOX: &str = "10.20.99.5";
    const APIM_VM: &str = "10.20.10.7";
    const ESB_VM: &str = "10.20.20.7";
    const DB_VM: &str = "10.20.30.7";
    const NFS: &str = "10.20.40.5";
    const ON_PREM: &str = "172.16.1.9";
    const SFTP: &str = "172.16.5.66";
    let flows = [
        // 1. The internet gets in by the front doors only, and out only where it says so.
        (INTERNET, "web/web-v1", 443, true),
        (INTERNET, "web/web-v2", 443, true),
        (INTERNET, "web/web-v1", 22, false),
        (INTERNET, "apim/apim-0", 8243, false),
        (INTERNET, "acme/acme-0", 443, false),
        ("web/web-v1", INTERNET, 443, false),
        ("ci/jenkins-0", INTERNET, 443, true),
        ("ci/jenkins-0", INTERNET, 80, false),
        // 2. Masters: 443 only; they reach the zones, but not the service ports.
        ("acme/acme-0", MASTER, 443, true),
        ("acme/acme-0", MASTER, 6443, false),
        (MASTER, "apim/apim-0", 9443, true),
        (MASTER, "apim/apim-0", 8243, false),
        (MASTER, "esb/esb-0", 8280, false),
        (MASTER, "db/mysql-0", 3306, false),
        // 3. Clients reach the service port of APIM.
        ("web/web-v2", "apim/apim-0", 8243, true),
        (VPN, "apim/apim-0", 8243, true),
        (VPN, "apim/apim-0", 9443, false),
        ("acme/acme-0", "apim/apim-0", 8243, false),
        // 4. ESB from APIM, subnets and pods.
        (APIM_VM, "esb/esb-0", 8280, true),
        ("apim/apim-0", "esb/esb-0", 8280, true),
        ("apim/apim-0", ESB_VM, 8280, true),
        ("web/web-v1", "esb/esb-0", 8280, false),
        (VPN, "esb/esb-0", 8280, false),
        // 5. Jenkins for the jump box.
        (JUMP_BOX, "ci/jenkins-0", 8080, true),
        (VPN, "ci/jenkins-0", 8080, false),
        (MASTER, "ci/jenkins-0", 8080, false),
        ("esb/esb-0", "ci/jenkins-0", 8080, false),
        // 6. Databases for APIM and ESB.
        (APIM_VM, "db/mysql-0", 3306, true),
        (ESB_VM, "db/mysql-0", 3306, true),
        ("esb/esb-0", DB_VM, 3306, true),
        ("web/web-v1", "db/mysql-0", 3306, false),
        (VPN, "db/mysql-0", 3306, false),
        // 7. NFS for APIM, ESB and masters.
        ("apim/apim-0", NFS, 2049, true),
        ("esb/esb-0", NFS, 111, true),
        ("esb/esb-0", NFS, 112, false),
        ("web/web-v1", NFS, 2049, false),
        ("acme/acme-0", "apim/apim-0", 2049, false),
        // 8. ESB to the data centre.
        ("esb/esb-0", SFTP, 22, true),
        ("esb/esb-0", "172.16.5.20", 1521, true),
        ("esb/esb-0", "172.16.5.85", 443, true),
        ("apim/apim-0", "172.16.5.20", 1521, false),
        // 9. Ways in from outside: VPN, the data centre's firewall, own subnets.
        (VPN, "acme/acme-0", 443, true),
        (ON_PREM, "acme/acme-0", 443, true),
        ("192.168.7.7", "acme/acme-0", 443, false),
        // 10. SSH is closed in every direction.
        (VPN, "web/web-v1", 22, false),
        (JUMP_BOX, "ci/jenkins-0", 22, false),
        ("apim/apim-0", SFTP, 22, false),
        ("esb/esb-0", "172.16.5.20", 22, false),
        ("web/web-v1", "web/web-v2", 22, false),
        // Tenants, and what they share.
        ("acme/acme-0", "globex/globex-0", 443, false),
        ("acme/acme-0", "kube-system/coredns-0", 53, true),
        ("monitoring/prometheus-0", "globex/globex-0", 443, true),
    ];
    let flows = flows.map(|(from, to, port, allowed)| (from, to, (Protocol::Tcp, port), allowed));
    // 7 is about UDP as well.
    let nfs = [111, 1110, 2049].into_iter().flat_map(|port| {
        [
            ("apim/apim-0", NFS, port, true),
            ("esb/esb-0", NFS, port, true),
            (MASTER, NFS, port, true),
            (APIM_VM, NFS, port, true),
            ("web/web-v1", NFS, port, false),
            ("acme/acme-0", NFS, port, false),
            (VPN, "db/mysql-0", port, false),
            ("esb/esb-0", "172.16.5.20", port, false),
        ]
    });
    let nfs = nfs.map(|(from, to, port, allowed)| (from, to, (Protocol::Udp, port), allowed));
    for (from, to, port, allowed) in flows.into_iter().chain(nfs) {
        let question = Question {
            from: party(from),
            to: party(to),
            port: Some(port),
            family: None,
        };
        let answer = asker.ask(&question).unwrap();
        assert_eq!(
            answer.live == Verdict::Allow,
            allowed,
            "{from} -> {to}:{port:?}: {answer}"
        );
    }
}
