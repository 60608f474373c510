//! What an attack is told, and what became of it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How long an answer is waited for. Only what is said about it depends on this: the server knows who came.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// One attack.
#[derive(Debug)]
pub struct Attack {
    /// The metadata service's address, or the one that leads to it.
    pub to: IpAddr,
    /// Its port.
    pub port: u16,
    /// The attacker's own address, of the same family.
    pub from: IpAddr,
    /// Source port, by which the server knows the attack.
    pub source_port: u16,
    /// Payload, by which it does too.
    pub token: Vec<u8>,
    /// Device to send by.
    pub device: String,
    /// Hardware address of the next hop.
    pub next_hop: [u8; 6],
    /// The node, the tunnel's end, or the address that leads to either.
    pub via: Option<IpAddr>,
    /// Port of the tunnel's end.
    pub via_port: u16,
    /// A pod that was granted what the attacker wants.
    pub victim: Option<IpAddr>,
    /// Marks to put on packets, one after the other.
    pub marks: Vec<u32>,
}

impl Attack {
    /// Reads `key=value` words.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self {
            to: [0, 0, 0, 0].into(),
            port: 80,
            from: [0, 0, 0, 0].into(),
            source_port: 0,
            token: Vec::new(),
            device: "eth0".to_owned(),
            next_hop: [0xff; 6],
            via: None,
            via_port: 0,
            victim: None,
            marks: Vec::new(),
        };
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(format!("{word:?} is no KEY=VALUE"));
            };
            read.take(key, value)
                .map_err(|error| format!("{word:?}: {error}"))?;
        }
        Ok(read)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .parse()
                .map_err(|error: std::num::ParseIntError| error.to_string())
        };
        let address = || {
            value
                .parse()
                .map_err(|error: std::net::AddrParseError| error.to_string())
        };
        match key {
            "to" => self.to = address()?,
            "from" => self.from = address()?,
            "via" => self.via = Some(address()?),
            "victim" => self.victim = Some(address()?),
            "port" => self.port = number()?,
            "source-port" => self.source_port = number()?,
            "via-port" => self.via_port = number()?,
            "token" => self.token = value.as_bytes().to_vec(),
            "device" => value.clone_into(&mut self.device),
            "mark" => {
                let marks = value.split(',').map(|mark| u32::from_str_radix(mark, 16));
                self.marks = marks
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.to_string())?;
            }
            "next-hop" => {
                let mut bytes = value.split(':').map(|byte| u8::from_str_radix(byte, 16));
                for slot in &mut self.next_hop {
                    *slot = bytes
                        .next()
                        .ok_or("six bytes are needed")?
                        .map_err(|error| error.to_string())?;
                }
            }
            _ => return Err("nobody knows this key".to_owned()),
        }
        Ok(())
    }

    /// Where to.
    pub fn target(&self) -> SocketAddr {
        (self.to, self.port).into()
    }

    /// The node or tunnel, which this technique cannot do without.
    pub fn needed_via(&self) -> io::Result<IpAddr> {
        self.via.ok_or_else(|| io::Error::other("via= is needed"))
    }

    /// The granted pod, which this technique cannot do without.
    pub fn needed_victim(&self) -> io::Result<IpAddr> {
        self.victim
            .ok_or_else(|| io::Error::other("victim= is needed"))
    }
}

/// What the kernel said.
#[derive(Debug)]
pub enum Outcome {
    /// Somebody answered.
    Answered,
    /// It took all of it; nobody answered, or nothing is to be answered.
    Sent,
    /// It refused at once.
    Refused,
    /// It cannot do this at all.
    Unsupported(String),
    /// It refused with another error than EPERM, or nobody came.
    Failed(String),
}

impl Outcome {
    /// What an error says.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::Refused,
            Some(
                libc::EPROTONOSUPPORT
                | libc::EAFNOSUPPORT
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ESOCKTNOSUPPORT,
            ) => Self::Unsupported(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Sent => f.write_str("sent"),
            Self::Refused => f.write_str("refused"),
            Self::Unsupported(why) => write!(f, "unsupported {why}"),
            Self::Failed(why) => write!(f, "failed {why}"),
        }
    }
}
