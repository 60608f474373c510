//! The codes of findings. A number is never given twice.

use super::{Code, Level};

macro_rules! codes {
    ($($name:ident $id:literal $level:ident $title:literal $help:literal)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { id: $id, level: Level::$level, title: $title, help: $help };
        )*
        /// All of them.
        pub const CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    EMPTY_ZONE "ZF001" Warning "a zone in which nobody is"
        "rules that name it match nobody; correct its selectors, or say where its members are"
    OVERLAP "ZF002" Warning "zones that overlap"
        "who is in several zones is allowed nothing by either's rules; narrow the selectors with NotIn or DoesNotExist, or \
         give a network to one zone only"
    UNKNOWN_ZONE "ZF003" Error "a zone that does not exist"
        "the name matches nobody; create the zone, or correct the name"
    NOT_ENFORCED_ZONE "ZF004" Error "an enforced denial of a zone that is not enforced"
        "live verdicts do not know the zone, so the rule denies nothing there; enforce the zone, or put the policy in audit too"
    FOREIGN_LABEL "ZF010" Warning "others decide who is in it"
        "use labels of ringfence.dev/, which the chart's guard rail keeps to who may update zones, or kubernetes.io/metadata.name"
    WIDE_NETWORK "ZF011" Warning "a network that claims pods or nodes"
        "who has an address there is in the zone unless a selector claims it; say so on purpose, or cut it out with except"
    SYSTEM_APART "ZF013" Warning "kube-system is a tenant apart"
        "name resolution and other services of the cluster are there: share it by sharedNamespaces"
    BEHIND_NAT "ZF014" Warning "a World rule cannot match behind source NAT"
        "set externalTrafficPolicy: Local, or terminate what comes from outside in a zone of its own"
    PROBE_DENIED "ZF015" Error "a denial that covers a probe's port"
        "a ZonePolicy's Deny binds the pod's own node too, so the kubelet's probe fails and the pod is restarted or not ready; \
         except the nodes' zone, or the probe's port"
    COVERED "ZF016" Warning "an Allow that a Deny covers"
        "deny beats allow: the rule opens nothing; make it an exception inside the rule that denies, or remove one of them"
    EQUAL_PRIORITY "ZF017" Warning "policies of equal priority that may decide differently"
        "the order among them is that of their names, and other implementations may choose another; give them different priorities"
    VAIN_ACKNOWLEDGEMENT "ZF018" Warning "acknowledgeLockout without effect"
        "it counts only where a rule closes a node's port 22/TCP; remove it, so that it does not count by accident later"
    ENDED "ZF019" Note "a rule, an exception or a grant that has ended"
        "its expirationTime has come, so it is as if it were not written; remove it, or give it another time"
    NOBODY_SELECTED "ZF020" Warning "a policy that is about nobody"
        "correct its selector, unless the pods are yet to come"
    OUTSIDE "ZF030" Warning "both ends are outside"
        "a flow is judged where one end is a pod or node of the cluster; enforce this one in the network between them"
    WITHOUT_DNS "ZF031" Warning "isolated egress without DNS"
        "names cannot be resolved there; allow 53/UDP and 53/TCP to k8s-app: kube-dns in kube-system"
}
