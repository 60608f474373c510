//! Starting the attack program as a process of a pod: in its cgroup, in its network, with its rights and no others.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::lab::inside_netns;

use super::{
    judge::Attempt,
    place::{Family, HOST_POD, NODE, Place, TUNNEL, USER, addresses},
};

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Nothing that every user may not.
    Unprivileged,
    /// Packets of its own making (CAP_NET_RAW).
    NetRaw,
}

/// Who attacks.
#[derive(Clone, Debug)]
pub struct Attacker {
    netns: String,
    cgroup: PathBuf,
    rights: Rights,
    addresses: [IpAddr; 2],
    device: String,
    next_hop: String,
}

impl Attacker {
    /// A process of a pod.
    pub fn pod(place: &Place, pod: &str, rights: Rights) -> Result<Self> {
        let bridged = ["c", "d"].contains(&pod);
        let device = if bridged {
            "cni0".to_owned()
        } else {
            Place::device(pod)
        };
        Ok(Self {
            netns: place.netns(pod),
            cgroup: place.cgroup(pod)?,
            rights,
            addresses: addresses(pod),
            device: "eth0".to_owned(),
            next_hop: place.hardware(&place.node(), &device)?,
        })
    }

    /// A process of the pod with the node's network, at its uplink.
    pub fn host(place: &Place, rights: Rights) -> Result<Self> {
        Ok(Self {
            netns: place.node(),
            cgroup: place.cgroup(HOST_POD)?,
            rights,
            addresses: NODE,
            device: "uplink0".to_owned(),
            next_hop: place.hardware(&place.netns("outside"), "eth0")?,
        })
    }

    /// The same at another device.
    #[must_use]
    pub fn at(mut self, device: &str, next_hop: &str) -> Self {
        device.clone_into(&mut self.device);
        next_hop.clone_into(&mut self.next_hop);
        self
    }

    /// The same with other addresses.
    #[must_use]
    pub const fn with_addresses(mut self, addresses: [IpAddr; 2]) -> Self {
        self.addresses = addresses;
        self
    }

    /// The same in another cgroup.
    #[must_use]
    pub fn in_cgroup(mut self, cgroup: PathBuf) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// The same in another namespace.
    #[must_use]
    pub fn in_netns(mut self, netns: String) -> Self {
        self.netns = netns;
        self
    }
}

/// One call of the attack program.
#[derive(Clone, Debug)]
pub struct Call {
    technique: String,
    words: Vec<String>,
}

impl Call {
    /// A technique against the service.
    #[must_use]
    pub fn new(technique: &str) -> Self {
        Self {
            technique: technique.to_owned(),
            words: Vec::new(),
        }
    }

    /// With one more word.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.words.push(format!("{key}={}", value.to_string()));
        self
    }

    /// Against another address.
    #[must_use]
    pub fn to(self, address: IpAddr) -> Self {
        self.with("to", address)
    }

    /// Into a tunnel of the node.
    #[must_use]
    pub fn into_tunnel(self, address: IpAddr, port: u16) -> Self {
        self.with("via", address)
            .with("via-port", port)
            .with("next-hop", TUNNEL)
    }
}

/// What the attack program was told by the kernel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "said", content = "why")]
pub enum Told {
    /// Somebody answered.
    Answered,
    /// The kernel took it.
    Sent,
    /// EPERM at once.
    Refused,
    /// The kernel cannot do this.
    Unsupported(String),
    /// Another error.
    Failed(String),
}

impl Told {
    fn read(line: &str) -> Result<Self> {
        let (word, why) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match word {
            "answered" => Self::Answered,
            "sent" => Self::Sent,
            "refused" => Self::Refused,
            "unsupported" => Self::Unsupported(why.to_owned()),
            "failed" => Self::Failed(why.to_owned()),
            _ => bail!("the attack program said {line:?}"),
        })
    }
}

/// A running attack.
pub struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it.
    pub fn start(
        program: &std::path::Path,
        attacker: &Attacker,
        family: Family,
        attempt: Attempt,
        call: &Call,
    ) -> Result<Self> {
        let mut words = vec![
            call.technique.clone(),
            format!("to={}", family.service()),
            format!("from={}", family.of(attacker.addresses)),
            format!("source-port={}", attempt.port()),
            format!("token={}", attempt.token()),
            format!("device={}", attacker.device),
            format!("next-hop={}", attacker.next_hop),
        ];
        words.extend(call.words.iter().cloned());
        let rights = match attacker.rights {
            Rights::Unprivileged => "-all",
            Rights::NetRaw => "-all,+net_raw",
        };
        // A shell enters the cgroup before the process is anybody's.
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&attacker.cgroup)
            .args(["setpriv", "--clear-groups", "--no-new-privs"])
            .arg(format!("--reuid={USER}"))
            .arg(format!("--regid={USER}"))
            .arg(format!("--inh-caps={rights}"))
            .arg(format!("--ambient-caps={rights}"))
            .arg(format!("--bounding-set={rights}"))
            // One that hangs is a failure and no reason to wait for ever; held connections wait for their turn.
            .args(["timeout", "--kill-after=1"])
            .arg(if call.technique.ends_with("-held") {
                "1800"
            } else {
                "30"
            })
            .arg(program)
            .args(words)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = inside_netns(&attacker.netns, || {
            command.spawn().context("cannot run a shell")
        })?;
        let output = child.stdout.take().context("the output was asked for")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
        })
    }

    /// Waits until it says that it holds a connection; `None` if it says something else, which is its end.
    pub fn held(&mut self) -> Result<Option<Told>> {
        match self.line()?.as_str() {
            "held" => Ok(None),
            line => Told::read(line).map(Some),
        }
    }

    /// Tells it to go on.
    pub fn go_on(&mut self) -> Result<()> {
        let input = self
            .child
            .stdin
            .as_mut()
            .context("the input was asked for")?;
        writeln!(input, "on").context("the attack program has ended")
    }

    /// Waits until it has ended.
    pub fn finish(mut self) -> Result<Told> {
        let line = self.line()?;
        let status = self.child.wait().context("cannot wait for a process")?;
        if !status.success() {
            bail!("the attack program ended with {status}");
        }
        Told::read(&line)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("cannot read what the attack program says")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The attack program that users of other names may run: beside the running program, or where tests say.
pub fn program(found: &std::path::Path) -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open.clone()).context("just made")?;
    let copy = directory.path().join("ringfence-attack");
    fs::copy(found, &copy).with_context(|| format!("cannot copy {}", found.display()))?;
    fs::set_permissions(&copy, open).context("just made")?;
    Ok(directory)
}
