//! Where the container network enforces `NetworkPolicy` itself.

use super::{
    tiers::{Says, put},
    zoned::expect,
    *,
};

#[test]
fn what_the_container_network_enforces_is_passed_over_and_the_rest_stays() {
    use Says::{Accept, Deny};
    use Tier::{
        ClusterAdmin, ClusterBaseline, NetworkPolicy, TenantOverridable, TenantStrict, ZoneDeny,
        ZoneIsolation,
    };
    let left_to_cni = Options {
        network_policy: compile::NetworkPolicy::Cni,
        ..Options::default()
    };
    for (says, allowed, by_cni) in [
        (vec![Deny(NetworkPolicy)], false, true),
        (vec![Deny(ClusterAdmin)], false, true),
        (vec![Deny(ClusterBaseline)], false, true),
        // Whoever could override it is not asked.
        (
            vec![Accept(NetworkPolicy), Deny(TenantOverridable)],
            true,
            false,
        ),
        (
            vec![Accept(ClusterAdmin), Deny(TenantOverridable)],
            true,
            false,
        ),
        (vec![Accept(NetworkPolicy), Deny(ZoneDeny)], false, false),
        (
            vec![Accept(NetworkPolicy), Deny(ZoneIsolation)],
            false,
            false,
        ),
        (
            vec![Accept(NetworkPolicy), Deny(TenantStrict)],
            false,
            false,
        ),
    ] {
        let mut snapshot = world(usual(), Vec::new());
        for it in &says {
            put(&mut snapshot, *it);
        }
        let everywhere = as_if_local(&snapshot);
        let source = snapshot.pods[&key("ops/web")].addresses[0];
        for (options, expect) in [(Options::default(), allowed), (left_to_cni.clone(), by_cni)] {
            let (desired, diagnostics) = compile(&everywhere, &options);
            let cell = desired.cell(&key("shop/db"), Direction::Ingress, source, HTTP);
            let live = cell.is_none_or(|cell| cell.live == Verdict::Allow);
            assert_eq!(live, expect, "{says:?} {options:?}");
            let told = diagnostics
                .iter()
                .any(|it| it.reason() == Diagnostic::OWNED_BY_CNI);
            let of_cluster = !snapshot.cluster_policies.is_empty();
            assert_eq!(
                told,
                of_cluster && options == left_to_cni,
                "{diagnostics:?}"
            );
        }
        // Questions are answered alike.
        let left = compile::without_network_policy(&snapshot);
        expect(&left, &[("ops/web", "shop/db", HTTP, by_cni)]);
    }
}
