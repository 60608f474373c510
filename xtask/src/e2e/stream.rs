//! Connections that go on while something happens, and are counted.

use std::thread;

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    cases::ways::ways,
    cluster::Cluster,
    expect::{Matrix, Pod},
    probe,
};

/// What became of the streams.
pub struct Counts {
    /// New connections by a way that policy leaves open.
    pub open: Tries,
    /// New connections by a way that policy closes.
    pub closed: Tries,
    /// Requests over one connection that was there before.
    pub kept: Kept,
}

/// New connections, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// All.
    pub tried: usize,
    /// Those that connected.
    pub reached: usize,
}

/// Requests over one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All.
    pub asked: usize,
    /// Those that were answered.
    pub answered: usize,
    /// Connections that it took.
    pub connections: usize,
}

impl Counts {
    /// Nothing got through, and nothing broke.
    pub fn check(&self) -> Result<()> {
        let Self { open, closed, kept } = self;
        eprintln!(
            "the open way was taken {} of {} times, the closed one {} of {}; {} of {} requests were answered over {} connections",
            open.reached,
            open.tried,
            closed.reached,
            closed.tried,
            kept.answered,
            kept.asked,
            kept.connections
        );
        ensure!(
            open.tried > 0 && closed.tried > 0 && kept.asked > 0,
            "nothing was tried"
        );
        ensure!(
            open.reached == open.tried,
            "the open way failed {} of {} times",
            open.tried - open.reached,
            open.tried
        );
        ensure!(
            closed.reached == 0,
            "the closed way was open {} of {} times",
            closed.reached,
            closed.tried
        );
        ensure!(
            *kept
                == Kept {
                    asked: kept.asked,
                    answered: kept.asked,
                    connections: 1
                },
            "the connection broke: {kept:?}"
        );
        Ok(())
    }
}

/// Made when it is over. The pods' `/tmp` is their own.
const STOP: &str = "/tmp/stop";

/// Runs the streams from inside pods while something happens.
pub fn meanwhile(
    cluster: &Cluster,
    pods: &[Pod],
    expected: &Matrix,
    happens: impl FnOnce() -> Result<()>,
) -> Result<Counts> {
    let way = |open: bool| {
        pods.iter().find_map(|from| {
            let others = pods.iter().filter(|to| to.id() != from.id());
            let mut ways = others.flat_map(|to| ways(from, to));
            let found = ways.find(|(_, way)| expected.get(way) == Some(&open));
            found.map(|(target, _)| (from, target))
        })
    };
    let (client, open) = way(true).context("no way is open")?;
    let (stranger, closed) = way(false).context("no way is closed")?;
    for pod in [client, stranger] {
        probe::shell(cluster, pod, &format!("rm -f {STOP}"))?;
    }
    let tries = |pod, target: &str, timeout: &str| {
        let script = format!(
            "n=0; ok=0; end=$(($(date +%s) + 600)); while [ ! -e {STOP} ] && [ $(date +%s) -lt $end ]; do n=$((n+1)); \
             /agnhost connect --timeout={timeout} {target} >/dev/null 2>&1 && ok=$((ok+1)); done; echo $n $ok"
        );
        read_tries(&probe::shell(cluster, pod, &script)?)
    };
    let kept = || {
        // Standard error is written at once, so nothing is lost when it is ended.
        let script = format!(
            "curl --silent --output /dev/null --rate 20/s --max-time 10 \
             --write-out '%{{stderr}}%{{num_connects}} %{{response_code}}\\n' 'http://{open}/[1-12000]' 2>/tmp/kept & \
             while [ ! -e {STOP} ] && kill -0 $! 2>/dev/null; do sleep 1; done; kill $! 2>/dev/null; wait; cat /tmp/kept"
        );
        read_kept(&probe::shell(cluster, client, &script)?)
    };
    thread::scope(|scope| {
        let streams = (
            scope.spawn(|| tries(client, &open, "2s")),
            // What is let through is through at once: short tries are more tries.
            scope.spawn(|| tries(stranger, &closed, "250ms")),
            scope.spawn(kept),
        );
        let happened = happens();
        for pod in [client, stranger] {
            probe::shell(cluster, pod, &format!("touch {STOP}"))?;
        }
        let counts = Counts {
            open: joined(streams.0.join())?,
            closed: joined(streams.1.join())?,
            kept: joined(streams.2.join())?,
        };
        happened.map(|()| counts)
    })
}

fn joined<T>(stream: thread::Result<Result<T>>) -> Result<T> {
    stream.map_err(|_panic| anyhow::anyhow!("a stream broke"))?
}

fn read_tries(text: &str) -> Result<Tries> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(tried)), Some(Ok(reached))) = (numbers.next(), numbers.next()) else {
        bail!("a stream said {text:?}");
    };
    Ok(Tries { tried, reached })
}

fn read_kept(text: &str) -> Result<Kept> {
    let mut kept = Kept::default();
    for line in text.lines() {
        let Some((Ok(connections), code)) = line
            .split_once(' ')
            .map(|(count, code)| (count.parse::<usize>(), code))
        else {
            bail!("a stream said {line:?}");
        };
        kept.asked += 1;
        kept.answered += usize::from(code == "200");
        kept.connections += connections;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_streams_say_is_counted() {
        let tries = read_tries("12 11\n").expect("two numbers");
        assert_eq!(
            tries,
            Tries {
                tried: 12,
                reached: 11
            }
        );
        assert!(read_tries("sh: not found").is_err());
        let kept = read_kept("1 200\n0 200\n1 000\n").expect("pairs of numbers");
        let expected = Kept {
            asked: 3,
            answered: 2,
            connections: 2,
        };
        assert_eq!(kept, expected);
        assert!(read_kept("sh: curl: not found").is_err());
    }
}
