//! Brings the kernel half into the binary.
//!
//! `cargo xtask build` builds it and names it in `RINGFENCE_EBPF_OBJECT`. Without that, the object of an
//! earlier `cargo xtask build` is taken, and without that an empty one: `cargo check` and editors need no
//! eBPF tool chain. Loading an empty object is an error that says so.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=RINGFENCE_EBPF_OBJECT");
    let object = env::var_os("RINGFENCE_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/ringfence.o"),
        PathBuf::from,
    );
    let object = object.canonicalize().unwrap_or(object);
    println!("cargo::rerun-if-changed={}", object.display());
    let out =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("ringfence.o");
    match fs::read(&object) {
        Ok(bytes) => fs::write(&out, bytes),
        Err(error) => {
            println!(
                "cargo::warning=no kernel half at {}: {error}; run `cargo xtask build`",
                object.display()
            );
            fs::write(&out, [])
        }
    }
    .expect("OUT_DIR can be written");
}
