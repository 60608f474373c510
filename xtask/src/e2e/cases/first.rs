//! What a pod may do with its very first instruction.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{End, look, ways::endpoint};
use crate::e2e::{
    cluster::{Cluster, items},
    eventually, example,
};

/// So many pods at a time: a node starts only so many at once, and the rest would wait for their turn.
const BATCH: usize = 10;
const NAME: &str = "first";

/// Pods whose first instruction is a connection that policy forbids; with a gate none gets through.
///
/// Without one it is measured for how long they are open.
pub(super) fn instruction(cluster: &Cluster) -> Result<End> {
    let list = cluster.ringfence(&["status"])?;
    let gated = items(&list).iter().all(|row| {
        row["answer"]["nri"]
            .as_str()
            .is_some_and(|it| it.contains(" asks before it starts pods"))
    });
    let (pods, _) = look(cluster)?;
    let open = pods
        .iter()
        .find(|pod| pod.namespace == example::OPEN)
        .context("the pod that nothing restricts")?;
    let target = endpoint(&open.addresses[0], open.ports[0]);
    // That it can be reached at once by who may.
    let allowed = batch(cluster, example::OPEN, 1, &at_once(&target))?;
    ensure!(
        allowed[0].code == 0,
        "a pod that may does not reach {target} at once: {}",
        allowed[0].said
    );
    let command = if gated {
        at_once(&target)
    } else {
        until_closed(&target)
    };
    let mut ends = Vec::new();
    while ends.len() < cluster.first {
        let count = BATCH.min(cluster.first - ends.len());
        ends.extend(batch(cluster, example::SEALED, count, &command)?);
    }
    if gated {
        closed(&ends)?;
        return Ok(End::Passed);
    }
    eprintln!("{}", windows(&ends)?);
    Ok(End::Skipped(
        "the container runtime does not ask; the window was measured",
    ))
}

/// Nothing comes before the connection, not even a shell.
fn at_once(target: &str) -> Vec<String> {
    ["/agnhost", "connect", "--timeout=1s", target]
        .map(str::to_owned)
        .to_vec()
}

/// Connects until it cannot, and says how often it could, when it began and when it could last.
fn until_closed(target: &str) -> Vec<String> {
    let script = format!(
        "now() {{ cut -d' ' -f1 /proc/uptime; }}; begin=$(now); last=$begin; n=0; \
         while [ $n -lt 5000 ] && /agnhost connect --timeout=1s {target} >/dev/null 2>&1; do n=$((n+1)); last=$(now); done; \
         echo $n $begin $last >/dev/termination-log"
    );
    ["sh", "-c", &script].map(str::to_owned).to_vec()
}

/// How a pod ended.
struct Ended {
    code: i64,
    said: String,
}

/// Runs so many pods to their end.
fn batch(
    cluster: &Cluster,
    namespace: &str,
    count: usize,
    command: &[String],
) -> Result<Vec<Ended>> {
    let pods: Vec<Value> = (0..count)
        .map(|number| {
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": format!("{NAME}-{number}"), "namespace": namespace, "labels": {"app": NAME}},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main",
                        "image": cluster.agnhost,
                        "imagePullPolicy": "IfNotPresent",
                        "command": command,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                    }],
                },
            })
        })
        .collect();
    cluster.kubectl.apply(&pods)?;
    let label = format!("app={NAME}");
    let ends = eventually("the pods have ended", || {
        let list = cluster
            .kubectl
            .json(&["-n", namespace, "get", "pods", "-l", &label])?;
        let ends: Vec<Ended> = items(&list).iter().filter_map(ended).collect();
        ensure!(ends.len() == count, "{} of {count} have", ends.len());
        Ok(ends)
    });
    cluster.kubectl.run(&[
        "-n",
        namespace,
        "delete",
        "pods",
        "-l",
        &label,
        "--timeout=120s",
    ])?;
    ends
}

fn ended(pod: &Value) -> Option<Ended> {
    let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    Some(Ended {
        code: state["exitCode"].as_i64()?,
        said: state["message"]
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    })
}

/// None got through, and each because nobody answered.
fn closed(ends: &[Ended]) -> Result<()> {
    let through = ends.iter().filter(|it| it.code == 0).count();
    eprintln!("{through} of {} pods got through", ends.len());
    ensure!(through == 0, "{through} of {} got through", ends.len());
    if let Some(other) = ends.iter().find(|it| !it.said.contains("TIMEOUT")) {
        bail!("a pod ended otherwise: {}: {}", other.code, other.said);
    }
    Ok(())
}

/// For how long they were open.
fn windows(ends: &[Ended]) -> Result<String> {
    let mut windows = Vec::new();
    for Ended { said, .. } in ends {
        let mut words = said.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(count)), Some(Ok(begin)), Some(Ok(last))) =
            (words.next(), words.next(), words.next())
        else {
            bail!("a pod said {said:?}");
        };
        if count > 0.0 {
            windows.push(last - begin);
        }
    }
    windows.sort_by(f64::total_cmp);
    let mut text = format!(
        "without the gate {} of {} pods got through",
        windows.len(),
        ends.len()
    );
    if let (Some(median), Some(longest)) = (windows.get(windows.len() / 2), windows.last()) {
        write!(
            text,
            "; they were open for {median:.2} s (median), {longest:.2} s (longest)"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i64, said: &str) -> Ended {
        Ended {
            code,
            said: said.to_owned(),
        }
    }

    #[test]
    fn only_silence_is_closed() {
        assert!(closed(&[ended(1, "TIMEOUT"), ended(1, "TIMEOUT")]).is_ok());
        assert!(closed(&[ended(1, "TIMEOUT"), ended(0, "")]).is_err());
        assert!(closed(&[ended(127, "sh: not found")]).is_err());
    }

    #[test]
    fn windows_are_sorted_and_pods_that_never_got_through_are_not_in_them() {
        let ends = [
            ended(0, "3 10.50 11.00"),
            ended(0, "0 1.00 1.00"),
            ended(0, "9 1.00 1.25"),
            ended(0, "1 1.00 1.01"),
        ];
        let text = windows(&ends).expect("numbers");
        assert_eq!(
            text,
            "without the gate 3 of 4 pods got through; they were open for 0.25 s (median), 0.50 s (longest)"
        );
    }
}
