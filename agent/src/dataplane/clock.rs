//! How long a jiffy is, and what the time is.
//!
//! The programs take their time from the kernel's jiffies, which cost nothing to read, and user space is not told how
//! many there are in a second: so a program is asked twice.

use std::{
    thread,
    time::{Duration, Instant},
};

use aya::{Ebpf, TestRun as _, TestRunOptions};

use super::{KernelError, load};

/// The values that `CONFIG_HZ` can have on the architectures that are supported.
const KNOWN: [u32; 4] = [100, 250, 300, 1000];
/// Long enough to tell 250 from 300.
const SAMPLE: Duration = Duration::from_millis(120);

/// The kernel's jiffies, their low 32 bits.
///
/// # Errors
///
/// If the kernel does not run the program.
pub fn jiffies(ebpf: &Ebpf) -> Result<u32, KernelError> {
    let program = load::classifier(ebpf, "clock")?;
    let packet = [0_u8; 64];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&packet),
            repeat: 1,
            ..TestRunOptions::default()
        })
        .map_err(|error| KernelError::Other(format!("cannot run the program clock: {error}")))?;
    Ok(result.return_value)
}

/// Jiffies in a second.
///
/// # Errors
///
/// If the kernel does not run the program.
pub fn measure_hz(ebpf: &Ebpf) -> Result<u32, KernelError> {
    let started = Instant::now();
    let first = jiffies(ebpf)?;
    thread::sleep(SAMPLE);
    let passed = jiffies(ebpf)?.wrapping_sub(first);
    let measured = f64::from(passed) / started.elapsed().as_secs_f64();
    let nearest = |a: &u32, b: &u32| {
        let distance = |hz: u32| (measured / f64::from(hz)).ln().abs();
        distance(*a).total_cmp(&distance(*b))
    };
    Ok(KNOWN.into_iter().min_by(nearest).unwrap_or(KNOWN[1]))
}
