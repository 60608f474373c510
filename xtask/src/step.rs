//! Runs commands and shows how they get on.
//!
//! Progress goes to standard error: a spinner with the time on a terminal, plain lines elsewhere. What
//! a command prints is kept, and shown whole when it fails or warns.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a silent step says that it still runs, where there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How long a running command may be silent before somebody looks whether it still runs.
const PATIENCE: Duration = Duration::from_millis(500);

/// A long step on standard error.
pub struct Step {
    title: String,
    message: String,
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
            message: String::new(),
            bar,
            started: Instant::now(),
            spoke: Instant::now(),
        }
    }

    /// Says what the step is at; `None` if that has not changed.
    pub fn at(&mut self, message: Option<&str>) {
        if let Some(message) = message {
            message.clone_into(&mut self.message);
            self.bar.set_message(message.to_owned());
        }
        if self.bar.is_hidden() && self.spoke.elapsed() >= HEARTBEAT {
            self.spoke = Instant::now();
            eprintln!(
                "{} ... {} s: {}",
                self.title,
                self.started.elapsed().as_secs(),
                self.message
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
        step.at(line.map(str::trim));
        output.extend(line.map(str::to_owned));
    });
    let failed = !status.as_ref().is_ok_and(ExitStatus::success);
    step.end(if failed { "failed" } else { "done" });
    if failed {
        output.iter().for_each(|line| eprintln!("{line}"));
    } else if output.iter().any(|line| line.contains("warning")) {
        output
            .iter()
            .filter(|line| !is_progress(line))
            .for_each(|line| eprintln!("{line}"));
    }
    let status = status?;
    if !status.success() {
        bail!("{title}: `{shown}` ended with {status}");
    }
    Ok(())
}

/// Whether a line only says what cargo is at: such words are flush right in twelve columns.
fn is_progress(line: &str) -> bool {
    let word = line.trim_start();
    line.len() - word.len() + word.find(' ').unwrap_or(0) == 12
        && word.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Runs a command and hands over each line that it prints, on either stream, in their order; `None` now
/// and then while it is silent.
pub fn stream(mut command: Command, mut each: impl FnMut(Option<&str>)) -> Result<ExitStatus> {
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
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(reader).split(b'\n');
        // Ends when nobody can write any more, or nobody listens.
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let mut looked = Instant::now();
    let mut ended = false;
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => each(Some(String::from_utf8_lossy(&line).trim_end_matches('\r'))),
            Err(RecvTimeoutError::Timeout) => each(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if looked.elapsed() >= PATIENCE {
            looked = Instant::now();
            // A process that the command left behind may hold the pipe for ever: once the command has
            // ended, what it printed is read in one more turn.
            if ended {
                break;
            }
            ended = child
                .try_wait()
                .with_context(|| format!("cannot wait for `{name}`"))?
                .is_some();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_read_in_their_order() {
        let mut lines = Vec::new();
        let status = stream(shell("echo a; echo b >&2; printf c; exit 3"), |line| {
            lines.extend(line.map(str::to_owned));
        });
        assert_eq!(status.expect("it runs").code(), Some(3));
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_process_left_behind_does_not_hold_up_the_end() {
        let started = Instant::now();
        let mut lines = Vec::new();
        let status = stream(shell("sleep 60 & echo $!"), |line| {
            lines.extend(line.map(str::to_owned))
        });
        assert!(status.expect("it runs").success());
        assert!(started.elapsed() < Duration::from_secs(30));
        let mut kill = Command::new("kill");
        kill.args(&lines);
        answer(kill).expect("the process left behind still runs");
    }

    #[test]
    fn progress_is_told_from_messages() {
        assert!(is_progress("   Compiling libc v0.2.191"));
        assert!(is_progress("    Finished `dev` profile"));
        assert!(!is_progress("warning: unused import"));
        assert!(!is_progress("   = note: on by default"));
    }
}
