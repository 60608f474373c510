//! What was seen of a node, as plain values.

use std::{net::IpAddr, path::PathBuf};

/// Something that could be seen, or the reason why not.
pub type Seen<T> = Result<T, String>;

/// What was seen of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's version.
    pub release: Seen<Release>,
    /// The kernel's type information is there.
    pub btf: bool,
    /// Programs are compiled; `None` if that cannot be seen.
    pub jit: Option<bool>,
    /// Lockdown mode of the kernel, where it has one.
    pub lockdown: Option<String>,
    /// Of the process that looks.
    pub privileges: Seen<Privileges>,
    /// File systems.
    pub mounts: Seen<Vec<Mount>>,
    /// Where the pins shall be.
    pub bpffs: PathBuf,
    /// Root of the pods' cgroups below a cgroup2, and whether there are pods below another hierarchy only.
    pub pods_cgroup: Option<PathBuf>,
    /// Configuration of the container network, in the order in which runtimes take it.
    pub cni: Seen<Vec<CniFile>>,
    /// Network devices.
    pub devices: Seen<Vec<Device>>,
    /// Programs of traffic control on devices.
    pub programs: Seen<Vec<Program>>,
    /// Rules of address translation and of marks.
    pub rules: Seen<Rules>,
    /// Bits of the packet mark that Ringfence shall use.
    pub marks: u32,
    /// Others that are known to use bits of the mark, by the devices that they make.
    pub mark_users: Vec<MarkUser>,
}

/// Rules, as the node's tools print them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// One each.
    pub lines: Vec<String>,
    /// Why there may be others.
    pub unseen: Vec<String>,
}

/// A kernel's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// As the kernel tells it.
    pub text: String,
    /// Major and minor.
    pub number: (u32, u32),
}

/// Of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// Its type.
    pub kind: String,
    /// Its own options, such as controllers.
    pub options: String,
}

/// One configuration of the container network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniFile {
    /// Name of the file.
    pub name: String,
    /// Types of its plugins in order, or why it cannot be read.
    pub plugins: Seen<Vec<String>>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its kind, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Which way packets go through a program, seen from the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What comes in by the device.
    Ingress,
    /// What goes out by it.
    Egress,
}

impl Side {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// A program of traffic control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The device.
    pub device: String,
    /// Which way.
    pub side: Side,
    /// Its name, as far as it tells one.
    pub name: String,
    /// How it is attached: `tcx` or `tc filter`.
    pub how: &'static str,
    /// It is one of Ringfence's.
    pub ours: bool,
}

/// Somebody else who uses bits of the packet mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkUser {
    /// What was seen and whom it belongs to, and where to set the bits.
    pub message: String,
}

impl Default for Facts {
    /// Nothing was seen.
    fn default() -> Self {
        let unseen = || "nobody looked".to_owned();
        Self {
            release: Err(unseen()),
            btf: false,
            jit: None,
            lockdown: None,
            privileges: Err(unseen()),
            mounts: Err(unseen()),
            bpffs: PathBuf::from(crate::args::BPFFS),
            pods_cgroup: None,
            cni: Err(unseen()),
            devices: Err(unseen()),
            programs: Err(unseen()),
            rules: Err(unseen()),
            marks: 0,
            mark_users: Vec::new(),
        }
    }
}

#[cfg(test)]
impl Facts {
    /// A node as it should be.
    pub(super) fn good() -> Self {
        let mount = |point: &str, kind: &str| Mount {
            point: point.into(),
            kind: kind.to_owned(),
            options: String::new(),
        };
        let device = |name: &str, kind: Option<&str>| Device {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            addresses: Vec::new(),
        };
        Self {
            release: Ok(Release {
                text: "6.18.2-generic".to_owned(),
                number: (6, 18),
            }),
            btf: true,
            jit: Some(true),
            privileges: Ok(Privileges {
                capabilities: u64::MAX,
            }),
            mounts: Ok(vec![
                mount("/", "ext4"),
                mount("/sys/fs/bpf", "bpf"),
                mount("/sys/fs/cgroup", "cgroup2"),
            ]),
            pods_cgroup: Some("/sys/fs/cgroup/kubepods.slice".into()),
            cni: Ok(vec![CniFile {
                name: "10-ptp.conflist".to_owned(),
                plugins: Ok(vec!["ptp".to_owned(), "portmap".to_owned()]),
            }]),
            devices: Ok(vec![
                device("lo", None),
                device("eth0", None),
                device("veth1234", Some("veth")),
            ]),
            programs: Ok(Vec::new()),
            rules: Ok(Rules::default()),
            ..Self::default()
        }
    }
}
