//! Objects of the API, and what sockets meet.

use ringfence_tests::{
    apiserver::available,
    lab::patiently,
    node::{NAMESPACE, Node, path},
};
use serde_json::json;

use super::{app, cluster, lets_in, namespace, policy};

#[test]
fn policies_and_labels_of_the_api_are_what_sockets_meet_on_two_nodes() {
    if !available("cluster::policies_and_labels_of_the_api_are_what_sockets_meet_on_two_nodes") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let one = Node::up(&api, 1, &["a", "b", "c"], &[80, 81]);
    let two = Node::up(&api, 2, &["d"], &[80, 81]);
    one.meet(&two);
    for (node, pod) in [(&one, "a"), (&one, "b"), (&one, "c"), (&two, "d")] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    let mut agents = [one.agent(&kubeconfig, &[]), two.agent(&kubeconfig, &[])];
    for agent in &mut agents {
        agent.spawn();
    }
    for agent in &mut agents {
        agent.wait_until_ready();
    }
    let b = one.addresses("b");
    let d = two.addresses("d");
    // Both agents may learn of the pods' addresses a moment after they are ready.
    patiently("everything is open", || {
        (one.reaches("a", b, 80) && two.answered("d", b, 80) == 4 && one.answered("a", d, 80) == 4)
            .then_some(())
    });

    api.apply(&lets_in("b", &app("a")));
    patiently("the policy is in force", || {
        (one.answered("c", b, 80) == 0 && two.answered("d", b, 80) == 0).then_some(())
    });
    assert!(one.reaches("a", b, 80));
    assert!(!one.reaches("a", b, 81));

    // The peer is on the other node; nothing but its label changes.
    api.merge(
        &path("d"),
        &json!({ "metadata": { "labels": { "app": "a" } } }),
    );
    patiently("the pod's new label counts", || {
        (two.answered("d", b, 80) == 4).then_some(())
    });
    api.merge(
        &path("d"),
        &json!({ "metadata": { "labels": { "app": "d" } } }),
    );
    patiently("the pod's old label counts", || {
        (two.answered("d", b, 80) == 0).then_some(())
    });

    let peer = json!({ "namespaceSelector": { "matchLabels": { "team": "x" } } });
    api.apply(&lets_in("b", &peer));
    patiently("nobody's namespace has the label", || {
        (one.answered("a", b, 80) == 0).then_some(())
    });
    namespace(&api, NAMESPACE, json!({ "team": "x" }));
    patiently("the namespace's new label counts", || {
        (one.answered("a", b, 80) == 4 && two.answered("d", b, 80) == 4).then_some(())
    });

    // The other direction, from the node that the policy's subject is on.
    api.apply(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "quiet", "namespace": NAMESPACE },
        "spec": { "podSelector": { "matchLabels": { "app": "a" } }, "policyTypes": ["Egress"] },
    }));
    patiently("egress is isolated", || {
        (one.answered("a", d, 80) == 0).then_some(())
    });
    api.delete(&policy("quiet"));
    patiently("the deletion counts", || {
        (one.answered("a", d, 80) == 4).then_some(())
    });
    api.delete(&policy("b"));
    patiently("the other deletion counts", || {
        (one.answered("a", b, 81) == 4).then_some(())
    });
}
