//! What a hostile pod does to reach the cloud's metadata service: one technique for each call. Nothing here knows Ringfence:
//! neither its crates nor its maps, only sockets and bytes.
//!
//! `ringfence-attack TECHNIQUE KEY=VALUE...` runs with the rights that it was given and says in one line what the kernel
//! said: `answered`, `sent`, `refused` (EPERM), `unsupported WHY`, `failed WHY`. Whether anything arrived is for the
//! server to say, not for this.

mod attack;
mod cgroups;
mod neighbours;
mod packet;
mod raw;
mod routing;
mod sockets;
mod sys;
mod tunnels;

use std::process::ExitCode;

use attack::{Attack, Outcome};

/// A technique, by which it is called.
type Technique = (&'static str, fn(&Attack) -> std::io::Result<Outcome>);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(name) = words.next() else {
        eprintln!("error: which technique? One of:");
        for (name, _) in techniques() {
            eprintln!("  {name}");
        }
        return ExitCode::from(2);
    };
    let Some((_, technique)) = techniques().find(|(known, _)| *known == name) else {
        eprintln!("error: no technique {name:?}; without arguments all are listed");
        return ExitCode::from(2);
    };
    let attack = match Attack::read(words) {
        Ok(attack) => attack,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match technique(&attack) {
        Ok(outcome) => println!("{outcome}"),
        Err(error) => println!("{}", Outcome::of(&error)),
    }
    ExitCode::SUCCESS
}

fn techniques() -> impl Iterator<Item = Technique> {
    let families: [&[Technique]; 6] = [
        sockets::TECHNIQUES,
        raw::TECHNIQUES,
        routing::TECHNIQUES,
        tunnels::TECHNIQUES,
        neighbours::TECHNIQUES,
        cgroups::TECHNIQUES,
    ];
    families.into_iter().flatten().copied()
}
