//! `ringfence lab`.

use anyhow::anyhow;

use super::{failure::Outcome, question::Oracle};
use crate::{
    compile::{Family, Party},
    lab::{self, Question, args::LabArgs, wire::Transport},
    model::{Protocol, Snapshot},
};

pub(super) fn run(args: LabArgs) -> Outcome {
    Ok(lab::run(args, Some(&offline))?)
}

/// What `ringfence can` would say.
fn offline(snapshot: &Snapshot, question: &Question) -> anyhow::Result<bool> {
    let Question {
        from: _,
        source,
        to,
        port,
        protocol,
    } = question;
    let protocol = match protocol {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    };
    let (from, to) = (Party::Address(*source), Party::Address(*to));
    let ruling = Oracle::new(snapshot)
        .ask(
            &from,
            &to,
            Some((protocol, *port)),
            Some(Family::of(*source)),
        )
        .map_err(|what| anyhow!(what))?;
    Ok(ruling.is_allowed())
}
