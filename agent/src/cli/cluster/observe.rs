//! `ringfence observe --all-nodes`.

use std::{
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

use super::Cluster;
use crate::{
    args::{FlowFormat, ObserveArgs},
    cli::{
        failure::{Failure, Outcome, Plain},
        observe,
    },
    observe::flow::{Flow, SCHEMA},
};

/// No line of a flow is nearly as long.
const LONGEST: u64 = 1 << 20;

/// A line of one node, or the reason why there are no more.
type Line = (String, Result<String, String>);

/// Ends the commands when nobody wants their lines any more.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

pub(in crate::cli) fn run(args: &ObserveArgs) -> Outcome {
    let cluster = Cluster::new(&args.cluster)?;
    let agents = cluster.find(&args.cluster)?.agents;
    let words = words(args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let width = agents.iter().map(|agent| agent.node.len()).max();
    let printer = Printer::new(args, width.unwrap_or(0));
    let failed = if args.follow {
        let commands = agents
            .iter()
            .map(|agent| (agent.node.clone(), cluster.kubectl.exec(agent, &words)));
        follow(commands, printer)?
    } else {
        let said = cluster.each(&agents, async |kubectl, agent| {
            let bytes = kubectl.bytes(agent, &words, &[]).await;
            (agent.node.as_str(), bytes)
        });
        look_back(said, args.last, printer)?
    };
    Ok(if failed {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints what has been on all nodes, in the order of time. True if a node has not told.
fn look_back(
    said: Vec<(&str, Result<Vec<u8>, String>)>,
    last: Option<usize>,
    mut printer: Printer,
) -> Result<bool, Failure> {
    let mut failed = false;
    let mut lines = Vec::new();
    for (node, said) in said {
        match said {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                lines.extend(text.lines().map(|line| (node, line.to_owned())));
            }
            Err(reason) => {
                failed = true;
                say!("error: node {node} does not answer: {}", Plain(&reason));
            }
        }
    }
    lines.sort_by_cached_key(|(_, line)| {
        serde_json::from_str::<Flow>(line).map_or_else(|_| String::new(), |flow| flow.time)
    });
    let surplus = last.map_or(0, |last| lines.len().saturating_sub(last));
    for (node, line) in lines.into_iter().skip(surplus) {
        printer.print(node, &line)?;
    }
    Ok(failed)
}

/// Prints what comes as it comes. True if a node has stopped telling.
fn follow(
    commands: impl Iterator<Item = (String, Command)>,
    mut printer: Printer,
) -> Result<bool, Failure> {
    let (sender, lines) = mpsc::channel();
    let mut children = Children(Vec::new());
    for (node, command) in commands {
        children.0.push(start(command, node, sender.clone())?);
    }
    drop(sender);
    let mut failed = false;
    for (node, line) in lines {
        match line {
            Ok(line) => printer.print(&node, &line)?,
            Err(reason) => {
                failed = true;
                say!("error: node {node} does not answer: {}", Plain(&reason));
            }
        }
    }
    Ok(failed)
}

/// The same question for each agent.
fn words(args: &ObserveArgs) -> Vec<String> {
    let ObserveArgs {
        follow,
        verdict,
        from,
        to,
        port,
        last,
        output: _,
        at: _,
        cluster: _,
    } = args;
    let mut words = vec!["observe".to_owned(), "-o".to_owned(), "jsonl".to_owned()];
    if *follow {
        words.push("--follow".to_owned());
    }
    for verdict in verdict
        .iter()
        .filter_map(clap::ValueEnum::to_possible_value)
    {
        words.push(format!("--verdict={}", verdict.get_name()));
    }
    for (flag, value) in [
        ("from", from.clone()),
        ("to", to.clone()),
        ("port", port.map(|port| port.to_string())),
        ("last", last.map(|last| last.to_string())),
    ] {
        words.extend(value.map(|value| format!("--{flag}={value}")));
    }
    words
}

/// Runs a command, and sends its lines on; at its end the reason, if it failed.
fn start(mut command: Command, node: String, lines: mpsc::Sender<Line>) -> Result<Child, Failure> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot run kubectl: {error}")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::new("kubectl has no output"));
    };
    thread::spawn(move || {
        // Nobody listens any more when a send fails: then there is nothing left to do.
        for line in short_lines(stdout) {
            if lines.send((node.clone(), Ok(line))).is_err() {
                return;
            }
        }
        let reason = short_lines(stderr).find(|line| !line.trim().is_empty());
        if let Some(reason) = reason {
            let _: Result<(), mpsc::SendError<Line>> = lines.send((node, Err(reason)));
        }
    });
    Ok(child)
}

/// Lines, until one is longer than any that an agent writes.
fn short_lines(output: impl io::Read) -> impl Iterator<Item = String> {
    let mut output = BufReader::new(output);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = (&mut output).take(LONGEST).read_until(b'\n', &mut line);
        let whole = read.is_ok() && (line.ends_with(b"\n") || (line.len() as u64) < LONGEST);
        (whole && !line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    })
}

/// Prints lines as they were asked for.
struct Printer {
    format: FlowFormat,
    color: bool,
    width: usize,
    out: io::StdoutLock<'static>,
}

impl Printer {
    fn new(args: &ObserveArgs, width: usize) -> Self {
        let out = io::stdout().lock();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format: args.output,
            color: out.is_terminal() && !plain,
            width,
            out,
        }
    }

    fn print(&mut self, node: &str, line: &str) -> Result<(), Failure> {
        match self.format {
            FlowFormat::Jsonl => writeln!(self.out, "{line}")?,
            FlowFormat::Table => match serde_json::from_str::<Flow>(line) {
                Ok(flow) if flow.schema == SCHEMA => {
                    let text = observe::for_people(&flow, self.color);
                    writeln!(self.out, "{node:<0$} {text}", self.width)?;
                }
                _ => say!("node {node}: {}", observe::not_a_flow(line.as_bytes())),
            },
        }
        self.out.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_one_has_no_end() {
        let lines: Vec<String> = short_lines(&b"a\n\nb\r\nc"[..]).collect();
        assert_eq!(lines, ["a", "", "b", "c"]);
        let endless = io::Read::chain(&b"a\n"[..], io::repeat(b'x'));
        assert_eq!(short_lines(endless).collect::<Vec<_>>(), ["a"]);
    }
}
