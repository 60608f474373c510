//! Runs commands and shows how they get on.
//!
//! Progress goes to standard error: a spinner with the time on a terminal, plain lines elsewhere. What
//! a command prints is kept, and shown whole when it fails or warns.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a silent step says that it still runs, where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A long step on standard error.
pub struct Step {
    title: String,
    bar: ProgressBar,
    started: Instant,
    spoke: Instant,
}

impl Step {
    /// Announces a step.
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}")
                .expect("the template is fixed"),
        );
        bar.set_prefix(title.clone());
        if bar.is_hidden() {
            eprintln!("{title} ...");
        } else {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            title,
            bar,
            started: Instant::now(),
            spoke: Instant::now(),
        }
    }

    /// Says what the step is at.
    pub fn at(&mut self, message: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(message.to_owned());
        } else if self.spoke.elapsed() >= HEARTBEAT {
            self.spoke = Instant::now();
            eprintln!(
                "{} ... {:.0?}: {message}",
                self.title,
                self.started.elapsed()
            );
        }
    }

    /// Prints a line above the spinner.
    pub fn say(&mut self, line: &str) {
        self.spoke = Instant::now();
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Ends the step; steps too short to notice leave no line on a terminal.
    pub fn end(self, outcome: &str) {
        let took = self.started.elapsed();
        let (shown, title) = (!self.bar.is_hidden(), &self.title);
        self.bar.finish_and_clear();
        if !shown || took >= Duration::from_secs(1) {
            eprintln!("{title}: {outcome} ({:.1} s)", took.as_secs_f64());
        }
    }
}

/// Runs a command as one step; its output is shown whole if it fails or warns.
pub fn run(title: &str, command: Command) -> Result<()> {
    let mut step = Step::start(title);
    // Without the environment, which would hide the rest.
    let shown = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = shown
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let mut output = Vec::new();
    let status = stream(command, |line| {
        step.at(line.trim());
        output.push(line.to_owned());
    });
    let failed = !status.as_ref().is_ok_and(ExitStatus::success);
    step.end(if failed { "failed" } else { "done" });
    if failed || output.iter().any(|line| line.contains("warning")) {
        for line in &output {
            eprintln!("{line}");
        }
    }
    let status = status?;
    if !status.success() {
        bail!("{title}: `{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and hands over each line that it prints, on either stream, in their order.
pub fn stream(mut command: Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null());
    command
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run `{name}`"))?;
    // The command holds the pipe's writing end: with it open here, reading would never end.
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .with_context(|| format!("cannot read what `{name}` prints"))?
        > 0
    {
        each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    child
        .wait()
        .with_context(|| format!("cannot wait for `{name}`"))
}

/// What a command prints on standard output, trimmed; `None` if it cannot be run or fails.
pub fn answer(mut command: Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program in `PATH`, if it is there.
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    // Administration tools are often outside an ordinary user's PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: VecDeque<_> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin", "/sbin"].map(Into::into));
    dirs.into_iter()
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Whether someone can be asked.
pub fn interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
