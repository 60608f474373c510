//! Whom the words on the command line mean, and what is said if that is not plain.

use super::{MANIFESTS, manifests, told};

const TWIN: &str = "\
apiVersion: v1
kind: Pod
metadata: { name: twin, namespace: shop }
spec: { containers: [ { name: main } ] }
status: { podIPs: [ { ip: 10.0.0.9 } ] }
";

#[test]
fn each_f_takes_one_name_and_there_may_be_several() {
    let directory = manifests();
    std::fs::write(directory.path().join("twin.yaml"), TWIN).unwrap();
    for words in [
        &["can", "-f", "all.yaml", "shop/web", "db/mysql-0", "3306"][..],
        &["can", "shop/web", "-f", "all.yaml", "db/mysql-0", "3306"],
        &[
            "can",
            "-f",
            "all.yaml",
            "-f",
            "twin.yaml",
            "shop/web",
            "shop/twin",
            "80",
        ],
        &[
            "can",
            "--filename=all.yaml",
            "shop/web",
            "db/mysql-0",
            "3306",
        ],
    ] {
        let (out, err, code) = told(directory.path(), words);
        assert_eq!(code, 0, "{words:?}: {out}{err}");
    }
    let words = ["agent", "--manifests", "all.yaml", "twin.yaml"];
    let (_, err, code) = told(directory.path(), &words);
    assert!(
        code == 2 && err.contains("unexpected argument 'twin.yaml'"),
        "{err}"
    );
}

#[test]
fn an_address_that_two_pods_claim_is_named_with_both() {
    let directory = tempfile::tempdir().unwrap();
    let both = format!("{MANIFESTS}---\n{TWIN}");
    std::fs::write(directory.path().join("all.yaml"), both).unwrap();
    let (out, err, code) = told(
        directory.path(),
        &["can", "shop/web", "10.0.0.9", "3306", "-f", "all.yaml"],
    );
    insta::assert_snapshot!(err, @r"
    warning: 10.0.0.9 is claimed by db/mysql-0, shop/twin: it counts as what all of them are, in the zones of each; delete the pod that no longer has it, or correct its address
      all.yaml:15: Pod/db/mysql-0: status.podIPs
           |
        19 | status: { podIPs: [ { ip: 10.0.0.9 }, { ip: 'fd00::9' } ] }
           |           ^^^^^^
      all.yaml:35: Pod/shop/twin: status.podIPs
           |
        39 | status: { podIPs: [ { ip: 10.0.0.9 } ] }
           |           ^^^^^^
    ");
    assert!(
        out.contains("ingress   none   no pod: nobody judges here"),
        "{out}"
    );
    assert_eq!(code, 0);
    let (_, of_matrix, code) = told(directory.path(), &["matrix", "-f", "all.yaml"]);
    assert!(of_matrix.contains(&err), "{of_matrix}");
    assert_eq!(code, 0);
}

#[test]
fn a_name_outside_stands_for_one_address_of_a_family() {
    let directory = manifests();
    let matrix = |words: &[&str]| {
        told(
            directory.path(),
            &[&["matrix", "-f", "all.yaml"], words].concat(),
        )
    };
    let (_, err, code) = matrix(&["--outside", "a=192.0.2.1", "--outside", "a=192.0.2.2"]);
    insta::assert_snapshot!(err, @r#"
    error: the name "a" is given twice
      --outside a=192.0.2.1
      --outside a=192.0.2.2
      help: give each address a name of its own; one name may have one IPv4 and one IPv6 address
    "#);
    assert_eq!(code, 2);
    let (_, err, code) = matrix(&["--outside", "shop/web=192.0.2.1"]);
    insta::assert_snapshot!(err, @r#"
    error: "shop/web" is the name of a pod
      --outside shop/web=192.0.2.1
      all.yaml:9: Pod/shop/web
      help: give the address outside another name
    "#);
    assert_eq!(code, 2);
    let (_, _, code) = matrix(&["--outside", "a=192.0.2.1", "--outside", "a=2001:db8::1"]);
    assert_eq!(code, 0);
}

#[test]
fn an_ipv4_address_inside_ipv6_is_judged_as_what_it_is() {
    let directory = manifests();
    let can = |from: &str, to: &str| {
        told(
            directory.path(),
            &["can", from, to, "3306", "-f", "all.yaml"],
        )
    };
    for (from, to) in [
        ("::ffff:10.0.0.7", "10.0.0.9"),
        ("10.0.0.7", "ip/::ffff:a00:9"),
    ] {
        let (out, err, code) = can(from, to);
        assert_eq!((out, code), (can("10.0.0.7", "10.0.0.9").0, 0));
        assert!(err.contains("is the IPv4 address 10.0.0."), "{err}");
    }
    let (_, _, code) = can("::ffff:192.0.2.1", "db/mysql-0");
    assert_eq!(code, 1);
}
