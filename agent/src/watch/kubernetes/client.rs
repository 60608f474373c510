//! Who is asked, and as whom.

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// How long it may take to reach the API server.
const CONNECT: Duration = Duration::from_secs(10);

/// An API server and credentials for it.
#[derive(Clone, Debug)]
pub struct Connection(Config);

impl Connection {
    /// Finds the API server: by `kubeconfig` or `context` if one is given, by `KUBECONFIG` if that is set, else by the
    /// service account of the pod that this runs in.
    ///
    /// # Errors
    ///
    /// None of them is there, or the one that was asked for cannot be read.
    pub async fn find(
        kubeconfig: Option<PathBuf>,
        context: Option<String>,
    ) -> anyhow::Result<Self> {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let mut config = if let Some(path) = kubeconfig {
            let file = Kubeconfig::read_from(&path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(|| {
                    format!("the kubeconfig {} names no usable cluster", path.display())
                })?
        } else if options.context.is_some() || set("KUBECONFIG") {
            Config::from_kubeconfig(&options)
                .await
                .context("KUBECONFIG names no usable cluster")?
        } else if set("KUBERNETES_SERVICE_HOST") {
            Config::incluster().context("the pod has no usable service account")?
        } else {
            anyhow::bail!(
                "no cluster to read: neither --kubeconfig nor KUBECONFIG is given, and this is no pod (KUBERNETES_SERVICE_HOST is not set)"
            );
        };
        config.connect_timeout = Some(CONNECT);
        // Whoever asks waits longer and longer by itself, and says why.
        config.default_retry = false;
        Ok(Self(config))
    }

    pub(super) fn client(self) -> anyhow::Result<Client> {
        Client::try_from(self.0).context("cannot make a client of the Kubernetes API")
    }
}
