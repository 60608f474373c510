//! Questions asked by packets that are given to the attached programs (`BPF_PROG_TEST_RUN`), where no socket can ask.
//!
//! The packet goes through `from_pod` as if it came from the source's device, then through `to_pod` as if it left by the
//! destination's, with the maps that are in force. Where the first passes it, the mark that it left goes with it.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use aya::{
    TestRun as _, TestRunOptions,
    maps::MapInfo,
    programs::{SchedClassifier, loaded_programs},
};
use ringfence_agent::{
    admin::api::Endpoint,
    lab::{Lab, inside_netns, names, state},
};
use ringfence_common::{
    ABI_VERSION,
    mark::{MarkLayout, Stamp},
};

use super::Heard;
use crate::{
    conformance::case::{End, Question},
    packet::{icmp, ip},
};

/// `TC_ACT_SHOT`.
const SHOT: u32 = 2;
/// `TC_ACT_UNSPEC`.
const UNSPEC: u32 = u32::MAX;
/// Size of `struct __sk_buff`.
const SKB: usize = 192;
/// Offsets in it.
const MARK: usize = 8;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
/// The protocol's number.
const SCTP: u8 = 132;
/// Source ports, used round and round: an old connection must not answer for a new one.
const SOURCE_PORTS: std::ops::Range<u16> = 20_000..60_000;
/// The node's side of every link of the lab.
const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The programs that are attached in a lab.
pub struct Injector {
    from_pod: SchedClassifier,
    to_pod: SchedClassifier,
    source_port: u16,
}

impl Injector {
    /// Finds them by the maps that are pinned there.
    pub fn find(lab: &Lab) -> Result<Self> {
        let pin = state::bpffs(lab.name()).join(format!("v{ABI_VERSION}/maps/ENDPOINTS"));
        let map = MapInfo::from_pin(&pin)
            .with_context(|| format!("cannot open {}", pin.display()))?
            .id();
        let find = |name: &'static str| -> Result<SchedClassifier> {
            for program in loaded_programs() {
                // Others' programs come and go meanwhile.
                let Ok(program) = program else { continue };
                if program.name_as_str() != Some(name) {
                    continue;
                }
                let Ok(Some(maps)) = program.map_ids() else {
                    continue;
                };
                if maps.contains(&map) {
                    return SchedClassifier::from_program_info(program, Cow::Borrowed(name))
                        .with_context(|| format!("cannot use the program {name}"));
                }
            }
            bail!("no program {name} uses {}", pin.display())
        };
        Ok(Self {
            from_pod: find("from_pod")?,
            to_pod: find("to_pod")?,
            source_port: SOURCE_PORTS.start,
        })
    }

    /// Asks, and compares.
    pub fn ask<'a>(
        &mut self,
        lab: &Lab,
        endpoints: &BTreeMap<String, Endpoint>,
        questions: &[&'a Question],
    ) -> Result<Vec<Heard<'a>>> {
        // Devices are found in the namespace of whoever asks.
        inside_netns(&names::node_netns(lab.name()), || {
            let mut heard = Vec::new();
            for question in questions {
                self.one(endpoints, question, &mut heard)?;
            }
            Ok(heard)
        })
    }

    fn one<'a>(
        &mut self,
        endpoints: &BTreeMap<String, Endpoint>,
        question: &'a Question,
        heard: &mut Vec<Heard<'a>>,
    ) -> Result<()> {
        let endpoint = |end: &End| match &end.party {
            crate::conformance::case::Party::Pod(key) => endpoints.get(&key.to_string()),
            _ => None,
        };
        self.source_port += 1;
        if self.source_port == SOURCE_PORTS.end {
            self.source_port = SOURCE_PORTS.start;
        }
        let packet = packet(question, self.source_port);
        let (source, destination) = (endpoint(&question.from), endpoint(&question.to));
        let mut mark = 0;
        let mut egress = true;
        let mut ingress = true;
        if let Some(source) = source {
            let mac = mac(source)?;
            (egress, mark) = run(
                &self.from_pod,
                source.ifindex,
                source.ifindex,
                0,
                &frame(NODE_MAC, mac, &packet),
            )?;
        }
        if !egress {
            // The other side is asked by itself: as if its egress had been judged, and well.
            mark = MarkLayout::DEFAULT.stamped(0, Stamp::FINAL);
        }
        if let Some(destination) = destination {
            // What came from nobody that is known here came by a device that is none of the pods'.
            let by = source.map_or(u32::MAX >> 1, |source| source.ifindex);
            let mac = mac(destination)?;
            (ingress, _) = run(
                &self.to_pod,
                destination.ifindex,
                by,
                mark,
                &frame(mac, NODE_MAC, &packet),
            )?;
        }
        let expect = question.expect;
        for (side, expected, got) in [
            ("egress", expect.egress, egress),
            ("ingress", expect.ingress, ingress),
            ("both", expect.combined, egress && ingress),
        ] {
            if let Some(expected) = expected {
                let how = if got { "passed" } else { "dropped" };
                heard.push(Heard {
                    question,
                    side,
                    expected,
                    got,
                    how: format!("an injected packet was {how}"),
                });
            }
        }
        Ok(())
    }
}

fn mac(endpoint: &Endpoint) -> Result<[u8; 6]> {
    let text = endpoint.hardware_address.as_deref();
    let text = text.with_context(|| format!("{} has no hardware address", endpoint.pod))?;
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    bytes
        .try_into()
        .map_err(|_bytes| anyhow::anyhow!("{text:?} is no hardware address"))
}

fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    [&to[..], &from, &ethertype.to_be_bytes(), packet].concat()
}

/// The first packet of what is asked about.
fn packet(question: &Question, source_port: u16) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) = (question.from.address, question.to.address);
    match question.port {
        Some((_, port)) => {
            let mut init = Vec::new();
            init.extend(source_port.to_be_bytes());
            init.extend(port.to_be_bytes());
            // Verification tag 0, checksum; then INIT: tag, window, one stream each way, first number.
            init.extend([0; 8]);
            init.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            ip(from, to, SCTP, &init)
        }
        None => {
            let kind = if from.is_ipv4() { 8 } else { 128 };
            let [high, low] = source_port.to_be_bytes();
            icmp(from, to, kind, 0, &[high, low, 0, 1, 0, 0, 0, 0])
        }
    }
}

/// True if the program passes the frame, and the mark that it leaves.
fn run(
    program: &SchedClassifier,
    device: u32,
    ingress: u32,
    mark: u32,
    frame: &[u8],
) -> Result<(bool, u32)> {
    let mut skb = [0_u8; SKB];
    let mut after = [0_u8; SKB];
    for (at, value) in [(MARK, mark), (INGRESS_IFINDEX, ingress), (IFINDEX, device)] {
        skb[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&skb),
        ctx_out: Some(&mut after),
        ..TestRunOptions::default()
    })?;
    let passes = match result.return_value {
        SHOT => false,
        UNSPEC => true,
        other => bail!("neither TC_ACT_SHOT nor TC_ACT_UNSPEC: {other}"),
    };
    let mark = after[MARK..MARK + 4].try_into().map(u32::from_ne_bytes)?;
    Ok((passes, mark))
}
