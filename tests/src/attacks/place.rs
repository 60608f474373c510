//! Where the attacks happen: a node with pods on links of their own and on a bridge, tunnels, an uplink, and the metadata
//! service beyond it.
//!
//! ```text
//!   a (granted) ──┐
//!   b (attacker) ─┤                ┌─ vx0, vx1, tun0 ...
//!   e, f ─────────┼── node ────────┴── uplink0 ── outside: the service, the judge
//!   c (granted) ──┤     └─ h: hostNetwork
//!   d (attacker) ─┘ cni0
//! ```
//!
//! **Invariant.** Processes of pods are in cgroups below `kubepods`, which is not the lab's outermost cgroup, so that
//! there can be programs above the agent's. The runner's own threads are in none of them.

use std::{
    ffi::OsStr,
    fs,
    net::IpAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::lab::{
    Lab, LabPod, LabSpec, OutsideHost, OutsidePort, inside_netns, names, wire::Transport,
};

pub use super::addresses::{
    AZURE, BRIDGE, CONFIGURED_NAT64, FENCE, Family, GOOGLE, LINK_LOCAL, NAT64, NAT64_PREFIX, NODE,
    OPEN, OTHER_CLOUDS, OTHER_NODE, SERVICE, is_service,
};
use crate::lab::binary;

/// The user that pods' processes are.
pub const USER: u32 = 65_534;
/// Pods with a network of their own, numbered from 1; those with `true` are granted the service.
pub const PODS: [(&str, bool); 6] = [
    ("a", true),
    ("b", false),
    ("c", true),
    ("d", false),
    ("e", true),
    ("f", false),
];
/// The pod with the node's network.
pub const HOST_POD: &str = "h";

/// The addresses of a pod.
///
/// # Panics
///
/// If there is no such pod.
#[must_use]
pub fn addresses(pod: &str) -> [IpAddr; 2] {
    let number = PODS
        .iter()
        .zip(1..)
        .find_map(|((name, _), number)| (*name == pod).then_some(number));
    crate::lab::addresses(number.expect("one of the pods"))
}

/// The lab and everything in it that is not the agent's.
pub struct Place {
    /// The lab.
    pub lab: Lab,
}

impl Place {
    /// Builds it.
    pub fn up(name: &str) -> Result<Self> {
        let lab = Lab::up(&spec(name))?;
        let place = Self { lab };
        place.cgroups()?;
        place.bridge()?;
        place.tunnels()?;
        place.openness()?;
        Ok(place)
    }

    /// The namespace of a pod, or `outside`, `node`.
    #[must_use]
    pub fn netns(&self, whom: &str) -> String {
        names::netns_prefix(self.lab.name()) + whom
    }

    /// The node's namespace.
    #[must_use]
    pub fn node(&self) -> String {
        names::node_netns(self.lab.name())
    }

    /// The root of the pods' cgroups, which the agent is told of.
    pub fn pods_cgroup(&self) -> Result<PathBuf> {
        Ok(self.outer_cgroup()?.join("kubepods"))
    }

    /// The cgroup above.
    pub fn outer_cgroup(&self) -> Result<PathBuf> {
        names::pods_cgroup(self.lab.name())
    }

    /// The cgroup of a pod.
    pub fn cgroup(&self, pod: &str) -> Result<PathBuf> {
        Ok(self.pods_cgroup()?.join(format!("t_{pod}")))
    }

    /// Makes the cgroup of a pod, which may make more below it.
    pub fn make_cgroup(&self, pod: &str) -> Result<()> {
        let cgroup = self.cgroup(pod)?;
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            chown(cgroup.join(file), Some(USER), Some(USER))
                .with_context(|| format!("cannot give {file} of {} away", cgroup.display()))?;
        }
        Ok(())
    }

    /// Removes the cgroups below one, which are empty by now.
    pub fn prune(&self, cgroup: &Path) -> Result<()> {
        let entries =
            fs::read_dir(cgroup).with_context(|| format!("cannot read {}", cgroup.display()))?;
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let child = entry.path();
                self.prune(&child)?;
                // The kernel lets go of a process a moment after it has been waited for.
                let deadline = Instant::now() + Duration::from_secs(5);
                while let Err(error) = fs::remove_dir(&child) {
                    if Instant::now() > deadline {
                        return Err(error)
                            .with_context(|| format!("cannot remove {}", child.display()));
                    }
                    std::thread::yield_now();
                }
            }
        }
        Ok(())
    }

    /// Runs a command in a namespace, its words parted by spaces.
    pub fn run(&self, netns: &str, words: &str) -> Result<String> {
        run(netns, words)
    }

    /// The same on the node.
    pub fn on_node(&self, words: &str) -> Result<String> {
        run(&self.node(), words)
    }

    /// Has `nft` on the node read these rules.
    pub fn rules(&self, rules: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("no temporary file")?;
        fs::write(file.path(), rules).context("cannot write a temporary file")?;
        let nft = [OsStr::new("nft"), OsStr::new("-f"), file.path().as_os_str()];
        output(&self.node(), &nft).with_context(|| rules.to_owned())?;
        Ok(())
    }

    /// The hardware address of a device in a namespace.
    pub fn hardware(&self, netns: &str, device: &str) -> Result<String> {
        let shown = run(netns, &format!("ip -o link show dev {device}"))?;
        let mut words = shown.split_whitespace();
        words
            .find(|word| *word == "link/ether")
            .and_then(|_| words.next())
            .map(str::to_owned)
            .with_context(|| format!("{device} in {netns} has no hardware address"))
    }

    /// The node's end of a pod's link.
    #[must_use]
    pub fn device(pod: &str) -> String {
        let number = PODS.iter().position(|(name, _)| *name == pod);
        format!("p{}-{pod}", number.unwrap_or(PODS.len()))
    }

    fn cgroups(&self) -> Result<()> {
        for pod in PODS.iter().map(|(name, _)| *name).chain([HOST_POD]) {
            self.make_cgroup(pod)?;
        }
        Ok(())
    }

    /// Puts c and d on a bridge, whose gateway is the node.
    fn bridge(&self) -> Result<()> {
        self.on_node("ip link add cni0 address 02:00:00:00:00:fe type bridge forward_delay 0 mcast_snooping 0")?;
        self.on_node("ip link set cni0 up")?;
        let [v4, v6] = BRIDGE;
        self.on_node(&format!("ip addr add {v4}/24 dev cni0"))?;
        self.on_node(&format!("ip addr add {v6}/64 dev cni0 nodad"))?;
        for pod in ["c", "d"] {
            let device = Self::device(pod);
            self.on_node(&format!("ip addr flush dev {device}"))?;
            for family in ["-4", "-6"] {
                self.on_node(&format!("ip {family} route flush dev {device}"))?;
            }
            self.on_node(&format!("ip link set {device} master cni0"))?;
            let netns = self.netns(pod);
            for (gateway, subnet) in BRIDGE.iter().zip(["10.244.9.0/24", "fd00:10:244:9::/64"]) {
                run(&netns, &format!("ip route add {subnet} dev eth0"))?;
                run(
                    &netns,
                    &format!("ip route replace default via {gateway} dev eth0"),
                )?;
            }
            // Neighbours that believe in routers, as hosts do.
            parameter(&netns, "net/ipv6/conf/eth0/accept_ra", "1")?;
        }
        Ok(())
    }

    /// The node's tunnels: what Flannel and others have, one of them at a port that nobody knows.
    fn tunnels(&self) -> Result<()> {
        for (name, port) in [("vx0", 4789), ("vx1", 8472), ("vx2", 14_789)] {
            self.on_node(&format!(
                "ip link add {name} address {TUNNEL} type vxlan id 7 dstport {port} nolearning"
            ))?;
            parameter(
                &self.node(),
                &format!("net/ipv4/conf/{name}/rp_filter"),
                "0",
            )?;
            self.on_node(&format!("ip link set {name} up"))?;
        }
        // One more over IPv6.
        self.on_node(&format!(
            "ip link add vx6 address {TUNNEL} type vxlan id 7 dstport 4790 local {} nolearning",
            NODE[1]
        ))?;
        parameter(&self.node(), "net/ipv4/conf/vx6/rp_filter", "0")?;
        self.on_node("ip link set vx6 up")?;
        Ok(())
    }

    /// What careless nodes and pods have open.
    fn openness(&self) -> Result<()> {
        let node = self.node();
        for parameter_of_node in [
            "net/ipv4/conf/all/accept_source_route",
            "net/ipv6/conf/all/accept_source_route",
            "net/ipv6/conf/all/seg6_enabled",
        ] {
            parameter(&node, parameter_of_node, "1")?;
        }
        for (pod, _) in PODS {
            let device = Self::device(pod);
            for (file, value) in [
                (format!("net/ipv4/conf/{device}/accept_source_route"), "1"),
                (format!("net/ipv6/conf/{device}/accept_source_route"), "1"),
                (format!("net/ipv6/conf/{device}/seg6_enabled"), "1"),
            ] {
                parameter(&node, &file, value)?;
            }
            let netns = self.netns(pod);
            parameter(&netns, "net/ipv4/ping_group_range", "0 2147483647")?;
            parameter(&netns, "net/ipv4/tcp_fastopen", "5")?;
        }
        // As by default routes, what the node sends to Services finds a way before it is translated.
        self.on_node("ip route add 10.96.0.0/16 dev uplink0")?;
        self.on_node("ip route add fd00:96::/112 dev uplink0")?;
        parameter(&node, "net/ipv4/ping_group_range", "0 2147483647")?;
        parameter(&node, "net/ipv4/tcp_fastopen", "5")?;
        let outside = self.netns("outside");
        parameter(&outside, "net/ipv4/tcp_fastopen", "7")?;
        run(
            &outside,
            &format!("ip addr add {LINK_LOCAL}/64 dev eth0 nodad"),
        )?;
        Ok(())
    }
}

/// Hardware address of the node's tunnels.
pub const TUNNEL: &str = "02:00:00:00:00:77";

/// Sets a kernel parameter of a namespace.
pub fn parameter(netns: &str, name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    inside_netns(netns, || {
        fs::write(&path, value)
            .with_context(|| format!("cannot write {value} to {} of {netns}", path.display()))
    })
}

/// Runs a command in a namespace, its words parted by spaces.
pub fn run(netns: &str, words: &str) -> Result<String> {
    let words: Vec<&OsStr> = words.split(' ').map(OsStr::new).collect();
    output(netns, &words)
}

fn output(netns: &str, words: &[&OsStr]) -> Result<String> {
    let (program, arguments) = words.split_first().context("no program")?;
    let output = inside_netns(netns, || {
        Command::new(program)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))
    })?;
    if !output.status.success() {
        bail!(
            "{words:?} in {netns}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spec(name: &str) -> LabSpec {
    let pods = PODS.map(|(pod, _)| LabPod {
        namespace: "t".to_owned(),
        name: pod.to_owned(),
        netns: pod.to_owned(),
        cgroup: None,
        addresses: addresses(pod).to_vec(),
        ports: Vec::new(),
    });
    let host = |name: &str, addresses: &[IpAddr], serves: &[(Transport, u16)]| OutsideHost {
        name: name.to_owned(),
        addresses: addresses.to_vec(),
        serves: serves
            .iter()
            .map(|&(protocol, port)| OutsidePort { protocol, port })
            .collect(),
        only_answers: true,
    };
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    let service = [(tcp, 80), (udp, 80), (tcp, 53), (udp, 53), (udp, 123)];
    LabSpec {
        name: LabSpec::unique_name(name),
        binary: binary().to_owned(),
        node: NODE.to_vec(),
        node_ports: Vec::new(),
        pods: pods.to_vec(),
        outside: vec![
            host("metadata", &SERVICE[..4], &service),
            host("embedded", &[CONFIGURED_NAT64], &service),
            host("other-clouds", &OTHER_CLOUDS, &service),
            host("open", &OPEN, &service),
            host("other-node", &[OTHER_NODE], &[]),
            host(
                "fence",
                &[FENCE.into(), "2001:db8:9::9".parse().expect("an address")],
                &[(tcp, 80)],
            ),
        ],
    }
}
