//! `ringfence observe --all-nodes`.

use std::{
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

use super::AgentPod;
use crate::{
    args::{FlowFormat, ObserveArgs},
    cli::{
        failure::{Failure, Outcome},
        observe,
    },
    observe::flow::{Flow, SCHEMA},
};

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
    let (kubectl, agents) = super::agents(&args.cluster)?;
    let words = words(args);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (sender, lines) = mpsc::channel();
    let mut children = Children(Vec::new());
    for agent in &agents {
        let child = follow(kubectl.exec(agent, &words), agent, sender.clone())?;
        children.0.push(child);
    }
    drop(sender);

    let width = agents.iter().map(|agent| agent.node.len()).max();
    let mut printer = Printer::new(args, width.unwrap_or(0));
    let mut failed = false;
    let mut collected = Vec::new();
    for (node, line) in lines {
        match line {
            // Of what has been, all is there before the first is printed; what goes on is printed as it comes.
            Ok(line) if args.follow => printer.print(&node, &line)?,
            Ok(line) => collected.push((node, line)),
            Err(reason) => {
                failed = true;
                say!("error: node {node} does not answer: {reason}");
            }
        }
    }
    collected.sort_by_cached_key(|(_, line)| {
        serde_json::from_str::<Flow>(line).map_or_else(|_| String::new(), |flow| flow.time)
    });
    let surplus = args
        .last
        .map_or(0, |last| collected.len().saturating_sub(last));
    for (node, line) in collected.into_iter().skip(surplus) {
        printer.print(&node, &line)?;
    }
    Ok(if failed {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
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
fn follow(
    mut command: Command,
    agent: &AgentPod,
    lines: mpsc::Sender<Line>,
) -> Result<Child, Failure> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot run kubectl: {error}")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::new("kubectl has no output"));
    };
    let node = agent.node.clone();
    thread::spawn(move || {
        // Nobody listens any more when a send fails: then there is nothing left to do.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send((node.clone(), Ok(line))).is_err() {
                return;
            }
        }
        let reason = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .find(|line| !line.trim().is_empty());
        if let Some(reason) = reason {
            let _: Result<(), mpsc::SendError<Line>> = lines.send((node, Err(reason)));
        }
    });
    Ok(child)
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
