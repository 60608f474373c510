//! What a case's actions do to its world.

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::model::PodKey;
use serde_json::Value;

use super::{
    file::{Action, PodFile, Resources},
    world::{Pod, World},
};

/// A pod's key.
fn key(namespace: &str, name: &str) -> PodKey {
    PodKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// `NAMESPACE/NAME`.
pub fn parse_key(text: &str) -> Result<PodKey> {
    let (namespace, name) = text
        .split_once('/')
        .with_context(|| format!("{text:?} is not NAMESPACE/NAME"))?;
    Ok(key(namespace, name))
}

/// Adds a pod that is not there yet.
pub fn add_pod(world: &mut World, file: PodFile) -> Result<()> {
    let key = key(&file.namespace, &file.name);
    let pod = Pod {
        labels: file.labels,
        addresses: file.ip.into_iter().chain(file.ips).collect(),
        ports: file.containers,
        node: file.node,
        host_network: file.host_network,
        phase: file.phase.unwrap_or_else(|| "Running".to_owned()),
        terminating: file.terminating,
    };
    ensure!(
        world.pods.insert(key.clone(), pod).is_none(),
        "there are two pods {key}"
    );
    Ok(())
}

/// Puts a policy in place, whether or not there was one of its name.
pub fn put(world: &mut World, policy: Value) -> Result<()> {
    let of = |field: &str| policy["metadata"][field].as_str().map(ToOwned::to_owned);
    let name = of("name").context("a policy without a name")?;
    let namespace = of("namespace").context("a policy without a namespace")?;
    world.policies.insert((namespace, name), policy);
    Ok(())
}

/// The same of a cluster network policy.
pub fn put_cluster(world: &mut World, policy: Value) -> Result<()> {
    let name = policy["metadata"]["name"].as_str().map(ToOwned::to_owned);
    let name = name.context("a policy without a name")?;
    world.cluster_policies.insert(name, policy);
    Ok(())
}

/// Does what an action says.
pub fn apply(
    world: &mut World,
    action: Action,
    model: Option<&PodFile>,
    said: Option<&Resources>,
) -> Result<()> {
    match action {
        Action::CreatePolicy { policy } | Action::UpdatePolicy { policy } => put(world, policy)?,
        Action::DeletePolicy { namespace, name } => {
            let gone = world.policies.remove(&(namespace.clone(), name.clone()));
            gone.with_context(|| format!("there is no policy {namespace}/{name} to delete"))?;
        }
        Action::CreateNamespace { namespace, labels }
        | Action::SetNamespaceLabels { namespace, labels } => {
            world.namespaces.insert(namespace, labels);
        }
        Action::DeleteNamespace { namespace } => {
            world.namespaces.remove(&namespace);
            world.pods.retain(|key, _| key.namespace != namespace);
            world.policies.retain(|(of, _), _| *of != namespace);
        }
        Action::CreatePod {
            namespace,
            pod,
            labels,
            mut ips,
            containers,
        } => {
            if ips.is_empty() {
                let found = said
                    .into_iter()
                    .flat_map(|said| &said.pods)
                    .find(|it| it.namespace == namespace && it.name == pod);
                ips = found.and_then(|it| it.ip).into_iter().collect();
            }
            ensure!(
                !ips.is_empty(),
                "nobody says what address {namespace}/{pod} has"
            );
            let model = model.context("no pod to take the containers of")?;
            let file = PodFile {
                namespace,
                name: pod,
                labels,
                ip: None,
                ips,
                containers: containers.unwrap_or_else(|| model.containers.clone()),
                ..model.clone()
            };
            add_pod(world, file)?;
        }
        Action::SetPodLabels {
            namespace,
            pod,
            labels,
        } => {
            let key = key(&namespace, &pod);
            let pod = world.pods.get_mut(&key);
            pod.with_context(|| format!("there is no pod {key} to label"))?
                .labels = labels;
        }
        Action::DeletePod { namespace, pod } => {
            let key = key(&namespace, &pod);
            let gone = world.pods.remove(&key);
            gone.with_context(|| format!("there is no pod {key} to delete"))?;
        }
    }
    Ok(())
}

/// Checks that the actions were understood as the suite understands them.
pub fn agree(world: &World, said: &Resources) -> Result<()> {
    ensure!(
        world.namespaces == said.namespaces,
        "namespaces are {:?}, the suite says {:?}",
        world.namespaces,
        said.namespaces
    );
    ensure!(
        world.pods.len() == said.pods.len(),
        "there are {} pods, the suite says {}",
        world.pods.len(),
        said.pods.len()
    );
    for theirs in &said.pods {
        let key = key(&theirs.namespace, &theirs.name);
        let ours = world.pods.get(&key).with_context(|| format!("no {key}"))?;
        ensure!(
            ours.labels == theirs.labels && ours.addresses.first() == theirs.ip.as_ref(),
            "{key} is {ours:?}, the suite says {theirs:?}"
        );
    }
    Ok(())
}
