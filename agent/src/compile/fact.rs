//! What can be said about a peer: the vocabulary of signatures.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write as _},
    sync::Arc,
};

use super::{
    address::canonical_net,
    counted::{Counted, Settled},
    ruleset::View,
};
use crate::model::{IpBlock, Labels, Operator, Protocol, Selector};

/// Something that is true of an address or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// It is a running pod's. No rule asks for it; the data path does.
    Pod,
    /// It is a running pod's that may send encapsulated packets to nodes. This, too, is asked by the data path only.
    Encapsulates,
    /// It is a pod's that these select.
    Pods {
        /// Namespaces.
        namespaces: Scope,
        /// Pods in them.
        pods: Selector,
        /// Service accounts; empty: any.
        accounts: BTreeSet<String>,
    },
    /// It is a running pod's or a node's.
    Cluster,
    /// It is a node's that this selects.
    Nodes(Selector),
    /// It is in a zone.
    Zone {
        /// The zone's name.
        name: String,
        /// Among the zones that this verdict counts.
        view: View,
        /// It is in no other.
        alone: bool,
    },
    /// It is in any of the zones that this verdict counts.
    Zoned(View),
    /// It lies in this network and in none of its exceptions.
    Block(IpBlock),
    /// It is a pod's whose container port of this name has this number.
    Port {
        /// Protocol.
        protocol: Protocol,
        /// Name.
        name: String,
        /// Number.
        number: u16,
    },
}

/// The text of [`Fact::Pod`].
pub const POD: &str = "pod";
/// The text of [`Fact::Encapsulates`].
pub const ENCAPSULATES: &str = "encapsulates";

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The one of this name.
    Named(String),
    /// Those with such labels.
    Selected(Selector),
}

impl Fact {
    /// The fact of a block in canonical form: two blocks that hold the same networks without the same
    /// exceptions are the same fact.
    #[must_use]
    pub fn block(block: &IpBlock) -> Self {
        Self::Block(canonical(block))
    }

    /// The fact of pods of these namespaces, whatever their service account.
    #[must_use]
    pub const fn pods(namespaces: Scope, pods: Selector) -> Self {
        Self::Pods {
            namespaces,
            pods,
            accounts: BTreeSet::new(),
        }
    }
}

/// A block without host bits, and without exceptions that mean nothing.
pub(super) fn canonical(block: &IpBlock) -> IpBlock {
    let cidr = canonical_net(block.cidr);
    let inside: Vec<_> = block
        .except
        .iter()
        .map(|&except| canonical_net(except))
        // One that is wider than the block leaves nothing of it.
        .map(|except| if except.contains(&cidr) { cidr } else { except })
        .filter(|except| cidr.contains(except))
        .collect();
    let mut except: Vec<_> = inside
        .iter()
        .copied()
        .filter(|it| !inside.iter().any(|other| other != it && other.contains(it)))
        .collect();
    except.sort_unstable();
    except.dedup();
    IpBlock { cidr, except }
}

/// True if a service account is one of these; if there are none, any is.
pub(super) fn is_of_accounts(account: &str, accounts: &BTreeSet<String>) -> bool {
    accounts.is_empty() || accounts.contains(account)
}

/// The text says all that the fact means, and nothing else: equal texts are equal facts.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod => f.write_str(POD),
            Self::Encapsulates => f.write_str(ENCAPSULATES),
            Self::Pods {
                namespaces: Scope::Named(name),
                pods,
                accounts,
            } => {
                write!(f, "pods [{}] in namespace {}", Text(pods), Quoted(name))?;
                of_accounts(f, accounts)
            }
            Self::Pods {
                namespaces: Scope::Selected(selector),
                pods,
                accounts,
            } => {
                write!(
                    f,
                    "pods [{}] in namespaces [{}]",
                    Text(pods),
                    Text(selector)
                )?;
                of_accounts(f, accounts)
            }
            Self::Cluster => f.write_str("cluster"),
            Self::Nodes(selector) => write!(f, "nodes [{}]", Text(selector)),
            Self::Zone { name, view, alone } => {
                let alone = if *alone { " alone" } else { "" };
                write!(f, "{}zone {}{alone}", staged(*view), Quoted(name))
            }
            Self::Zoned(view) => write!(f, "{}zoned", staged(*view)),
            Self::Block(IpBlock { cidr, except }) => {
                write!(f, "block {cidr}")?;
                for (index, except) in except.iter().enumerate() {
                    write!(f, "{}{except}", if index == 0 { " except " } else { ", " })?;
                }
                Ok(())
            }
            Self::Port {
                protocol,
                name,
                number,
            } => {
                write!(f, "port {}/{protocol} is {number}", Quoted(name))
            }
        }
    }
}

fn of_accounts(f: &mut fmt::Formatter<'_>, accounts: &BTreeSet<String>) -> fmt::Result {
    if accounts.is_empty() {
        return Ok(());
    }
    f.write_str(" of accounts ")?;
    list(f, accounts)
}

const fn staged(view: View) -> &'static str {
    match view {
        View::Live => "",
        View::Staged => "staged ",
    }
}

/// A selector as text, in the notation of `kubectl -l`.
struct Text<'a>(&'a Selector);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            let key = Quoted(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => write!(f, "{key} in ").and_then(|()| list(f, values)),
                Operator::NotIn(values) => write!(f, "{key} notin ").and_then(|()| list(f, values)),
                Operator::Exists => write!(f, "{key}"),
                Operator::DoesNotExist => write!(f, "!{key}"),
                Operator::Blank => write!(f, "blank {key}"),
            }?;
        }
        Ok(())
    }
}

fn list<'a>(
    f: &mut fmt::Formatter<'_>,
    values: impl IntoIterator<Item = &'a String>,
) -> fmt::Result {
    f.write_char('(')?;
    for (index, value) in values.into_iter().enumerate() {
        write!(f, "{}{}", if index == 0 { "" } else { "," }, Quoted(value))?;
    }
    f.write_char(')')
}

/// A word as it is if it is a label's or a name's, else in quotation marks: no text can be taken for another.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if !self.0.is_empty() && self.0.bytes().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// Number of a fact within one [`Facts`].
pub type FactId = usize;

/// Facts that rules ask about, each once.
#[derive(Debug, Default)]
pub struct Facts {
    counted: Counted<Fact>,
    /// Numbers and ports of those that a name stands for.
    by_name: HashMap<(Protocol, String), BTreeMap<FactId, u16>>,
}

impl Facts {
    /// The fact's number, used once more.
    pub fn intern(&mut self, fact: Fact) -> FactId {
        self.counted.add(fact)
    }

    /// One user of a fact less.
    pub fn release(&mut self, id: FactId) {
        self.counted.release(id);
    }

    /// The fact of this number.
    #[must_use]
    pub fn get(&self, id: FactId) -> Option<&Fact> {
        self.counted.get(id).map(|fact| &**fact)
    }

    /// The number of a fact that somebody asks for.
    pub(super) fn number(&self, fact: &Fact) -> Option<FactId> {
        self.counted.number(fact)
    }

    /// The fact of this number, to keep.
    pub(super) fn shared(&self, id: FactId) -> Option<Arc<Fact>> {
        self.counted.get(id).map(Arc::clone)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (FactId, &Fact)> {
        self.counted.iter()
    }

    /// The facts that say which ports have this name, and the ports.
    pub(super) fn ports_named(
        &self,
        name: &(Protocol, String),
    ) -> impl Iterator<Item = (FactId, u16)> + '_ {
        let ports = self.by_name.get(name).into_iter().flatten();
        ports.map(|(&id, &number)| (id, number))
    }

    /// Forgets what nobody uses.
    pub(super) fn settle(&mut self) -> Settled<Fact> {
        let settled = self.counted.settle();
        for (id, fact) in &settled.dead {
            if let Fact::Port { protocol, name, .. } = &**fact
                && let Some(ports) = self.by_name.get_mut(&(*protocol, name.clone()))
            {
                ports.remove(id);
                if ports.is_empty() {
                    self.by_name.remove(&(*protocol, name.clone()));
                }
            }
        }
        for &id in &settled.born {
            if let Some(Fact::Port {
                protocol,
                name,
                number,
            }) = self.counted.get(id).map(|fact| &**fact)
            {
                let ports = self.by_name.entry((*protocol, name.clone())).or_default();
                ports.insert(id, *number);
            }
        }
        settled
    }
}

/// The labels of a namespace that has no object.
pub(super) fn bare_namespace(name: &str) -> Labels {
    Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Requirement;

    fn selector(key: &str, operator: Operator) -> Selector {
        Selector {
            requirements: [Requirement {
                key: key.into(),
                operator,
            }]
            .into(),
        }
    }

    #[test]
    fn a_text_says_what_the_fact_means_and_cannot_be_forged() {
        let value = |value: &str| Operator::In([value.to_owned()].into());
        let pods = |pods| Fact::Pods {
            namespaces: Scope::Named("shop".into()),
            pods,
            accounts: BTreeSet::new(),
        };
        for (fact, expect) in [
            (pods(Selector::default()), "pods [] in namespace shop"),
            (
                pods(selector("app", value("db"))),
                "pods [app in (db)] in namespace shop",
            ),
            (
                pods(selector("app", value("db,web"))),
                "pods [app in (\"db,web\")] in namespace shop",
            ),
            (
                pods(selector("a)", Operator::DoesNotExist)),
                "pods [!\"a)\"] in namespace shop",
            ),
            (
                Fact::Pods {
                    namespaces: Scope::Selected(selector("team", Operator::Exists)),
                    pods: selector("app", Operator::NotIn([].into())),
                    accounts: ["ci".into(), "jenkins".into()].into(),
                },
                "pods [app notin ()] in namespaces [team] of accounts (ci,jenkins)",
            ),
            (
                Fact::Zone {
                    name: "db".into(),
                    view: View::Staged,
                    alone: true,
                },
                "staged zone db alone",
            ),
            (
                Fact::Port {
                    protocol: Protocol::Udp,
                    name: "dns".into(),
                    number: 53,
                },
                "port dns/UDP is 53",
            ),
        ] {
            assert_eq!(fact.to_string(), expect);
        }
    }

    #[test]
    fn blocks_that_mean_the_same_are_one_fact() {
        let block = |cidr: &str, except: &[&str]| {
            Fact::block(&IpBlock {
                cidr: cidr.parse().unwrap(),
                except: except.iter().map(|it| it.parse().unwrap()).collect(),
            })
        };
        let one = block("10.0.0.0/8", &["10.2.0.0/16", "10.1.0.0/16"]);
        let same = block(
            "10.9.9.9/8",
            &["10.1.0.0/16", "10.2.3.4/16", "10.2.7.0/24", "11.0.0.0/8"],
        );
        assert_eq!(one, same);
        assert_eq!(
            one.to_string(),
            "block 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16"
        );
        assert_ne!(one, block("10.0.0.0/8", &["10.1.0.0/16"]));
        assert_eq!(
            block("10.0.0.0/8", &["0.0.0.0/0"]),
            block("10.0.0.0/8", &["10.0.0.0/8"])
        );
    }
}
