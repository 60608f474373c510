//! The techniques: a file for each family of them.

mod host;
mod life;
mod pods;
mod services;
mod tunnels;

use anyhow::Result;

use super::{
    launch::{Attacker, Call, Rights},
    place::Family,
    stage::{Stage, Tried},
};

/// A way to the service.
pub struct Technique {
    /// Its name.
    pub name: &'static str,
    /// What the attacker is, in words.
    pub rights: &'static str,
    /// Families of addresses that it is tried in.
    pub families: &'static [Family],
    /// Why it is not promised to be stopped; absent: it is.
    pub limit: Option<&'static str>,
    /// Tries it.
    pub run: fn(&mut Stage, Family, &mut Tried) -> Result<()>,
}

/// Words for what an attacker is.
const PLAIN: &str = "unprivileged";
const RAW: &str = "NET_RAW";
const HOST: &str = "hostNetwork";
const HOST_RAW: &str = "hostNetwork, NET_RAW";

const V4: &[Family] = &[Family::V4];
const V6: &[Family] = &[Family::V6];
const BOTH: &[Family] = Family::BOTH;

/// One that is stopped, or it is a hole.
const fn technique(
    name: &'static str,
    rights: &'static str,
    families: &'static [Family],
    run: fn(&mut Stage, Family, &mut Tried) -> Result<()>,
) -> Technique {
    Technique {
        name,
        rights,
        families,
        limit: None,
        run,
    }
}

/// All of them, those last that change what others need.
pub fn techniques() -> impl Iterator<Item = &'static Technique> {
    [
        pods::TECHNIQUES,
        services::TECHNIQUES,
        tunnels::TECHNIQUES,
        host::TECHNIQUES,
        life::TECHNIQUES,
    ]
    .into_iter()
    .flatten()
}

/// The attacker on a link of its own.
fn pod(stage: &Stage, rights: Rights) -> Result<Attacker> {
    Attacker::pod(&stage.place, "b", rights)
}

/// An unprivileged process of the attacker's pod does this.
fn plainly(stage: &Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    stage.attack(tried, &attacker, family, &Call::new(call))
}

/// One with CAP_NET_RAW does, with what may help it.
fn rawly(stage: &Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    let attacker = pod(stage, Rights::NetRaw)?;
    let call = Call::new(call)
        .with("victim", family.of(super::place::addresses("a")))
        .with("via", family.of(super::place::NODE));
    stage.attack(tried, &attacker, family, &call)
}

/// Marks that may mean something: all ones; the proof of a grant, alone and with the places of pods.
fn marks() -> String {
    let proof = 0x4000_0000;
    let places = (1..=16_u32).map(|place| place << 16);
    [u32::MAX, proof, proof | 0x3fff_0000]
        .into_iter()
        .chain(places.clone())
        .chain(places.map(move |place| proof | place))
        .map(|mark| format!("{mark:x}"))
        .collect::<Vec<_>>()
        .join(",")
}
