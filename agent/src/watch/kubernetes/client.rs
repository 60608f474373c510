//! Who is asked, and as whom.

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context as _;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, ServiceBuilder};

/// How long it may take to reach the API server.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before it is asked whether it still is one.
const KEEPALIVE: Duration = Duration::from_secs(15);

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
        Ok(Self(config))
    }

    /// A client whose connections notice that nobody is at the other end any more: a watch may be silent for long, and a
    /// server that was replaced never says so.
    ///
    /// # Errors
    ///
    /// The kubeconfig asks for what is not supported.
    pub fn client(self) -> anyhow::Result<Client> {
        const CONTEXT: &str = "cannot make a client of the Kubernetes API";
        let config = self.0;
        anyhow::ensure!(
            config.proxy_url.is_none(),
            "{CONTEXT}: proxies are not supported; take proxy-url out of the kubeconfig"
        );
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(config.connect_timeout);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 3));
        tcp.set_keepalive_retries(Some(3));
        let tls = config
            .rustls_https_connector_with_connector(tcp)
            .context(CONTEXT)?;
        let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(tls);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().context(CONTEXT)?)
            .layer(config.extra_headers_layer().context(CONTEXT)?)
            .map_err(BoxError::from)
            .service(http);
        Ok(Client::new(service, config.default_namespace))
    }
}
