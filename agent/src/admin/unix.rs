//! The server on the unix socket: everything that the command line asks.

use std::{convert::Infallible, net::IpAddr, process, sync::Arc, time::SystemTime};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::{
    CellRow, Shared,
    api::{
        Connection, Count, DeviceRow, DiagnosticRow, Endpoint, LayerRow, List, Object, Refusal,
        Status, Unplaced,
    },
    itself,
    metadata::{self, Metadata},
    pods,
    probes::{self, Audience},
    tcp,
};
use crate::{
    dataplane::{CellFilter, ConnectionView, Counters, Kernel},
    observe::{
        self,
        flow::{Flow, protocol_number, timestamp},
    },
    run::kernel::AskError,
};

/// The routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    probes::routes(Audience::Root)
        .route("/metrics", get(tcp::metrics))
        .route("/v1/status", get(status))
        .route("/v1/endpoints", get(endpoints))
        .route("/v1/cells", get(cells))
        .route("/v1/metadata", get(metadata))
        .route("/v1/connections", get(connections).delete(flush))
        .route("/v1/objects", get(objects))
        .route("/v1/events", get(events))
        .with_state(shared)
}

/// An answer that is no success.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

impl From<AskError> for Refused {
    fn from(error: AskError) -> Self {
        let status = match error {
            AskError::Busy | AskError::Gone => StatusCode::SERVICE_UNAVAILABLE,
            AskError::Kernel(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, Refused> {
    // An agent that waits for its sources or its programs still tells how it is.
    let (counters, endpoints, programs) = if shared.kernel.is_open() {
        let told =
            |kernel: &mut dyn Kernel| Ok((kernel.counters()?, pods(kernel)?, kernel.programs()?));
        shared.kernel.ask(told).await?
    } else {
        (Counters::default(), 0, Vec::new())
    };
    let layers = tcp::layers(&shared, &programs);
    let faults: Vec<String> = probes::checks(&shared)
        .into_iter()
        .filter_map(|check| {
            let fault = check.told(Audience::Root)?;
            Some(format!("{}: {fault}", check.name))
        })
        .collect();
    let placed = shared.placed.borrow().clone();
    let config = &shared.config;
    let (revision, realized, refused) = {
        let progress = shared.kernel.progress();
        let progress = progress.borrow();
        (
            progress.applied.map(|applied| applied.revision),
            progress.at.map(timestamp),
            progress.error.clone(),
        )
    };
    // Borrowed for as long as this takes: who borrows again while somebody waits to write waits for ever.
    let devices = shared
        .devices
        .borrow()
        .by_index
        .values()
        .map(|device| DeviceRow {
            index: device.index,
            name: device.name.clone(),
            role: device.role.as_str().to_owned(),
        })
        .collect();
    let agent_access = itself::access(&shared, placed.as_deref()).await;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: process::id(),
        node: config.node.clone(),
        started: timestamp(shared.started),
        ready: faults.is_empty(),
        not_ready: faults,
        revision,
        realized,
        refused,
        sources: probes::freshness(&shared.health, SystemTime::now(), Audience::Root),
        endpoints,
        unplaced: placed
            .iter()
            .flat_map(|placed| &placed.unplaced)
            .map(|(pod, reason)| Unplaced {
                pod: pod.to_string(),
                reason: reason.clone(),
            })
            .collect(),
        policies: placed
            .as_ref()
            .map_or(0, |placed| placed.snapshot.policies.len()),
        network_policy: config.network_policy.1.clone(),
        metadata_audited: counters.metadata_audited,
        metadata_layers: layers
            .into_iter()
            .map(|layer| LayerRow {
                name: layer.name.to_owned(),
                stands: layer.stands,
                why: layer.why.to_owned(),
            })
            .collect(),
        agent_access,
        socket_hooks: config.cgroup_root.as_ref().map_or_else(
            || format!("none: {}", config.no_cgroup),
            |root| root.display().to_string(),
        ),
        nri: config.nri.as_ref().map(|nri| {
            let is = if shared.lasting.nri.is_connected() {
                "asks before it starts pods"
            } else {
                "does not ask before it starts pods"
            };
            let unwatched = match shared.lasting.nri.unwatched_in_total() {
                0 => String::new(),
                pods => format!("; pods that started while it did not: {pods}"),
            };
            format!(
                "the container runtime at {} {is}{unwatched}",
                nri.socket.display()
            )
        }),
        bpffs: config.bpffs.display().to_string(),
        http: shared.http.get().map(ToString::to_string),
        lost_events: counters.lost_events + shared.recorder.missed_in_total(),
        devices,
        diagnostics: shared
            .diagnostics()
            .iter()
            .map(DiagnosticRow::from)
            .collect(),
    }))
}

async fn endpoints(State(shared): State<Arc<Shared>>) -> Result<Json<List<Endpoint>>, Refused> {
    let views = shared.kernel.ask(|kernel| kernel.endpoints()).await?;
    let devices = shared.devices.borrow().clone();
    let mut items: Vec<Endpoint> = views
        .into_iter()
        .map(|view| {
            let interface = devices
                .by_index
                .get(&view.ifindex)
                .map(|device| device.name.clone())
                .unwrap_or_default();
            Endpoint::new(view, interface)
        })
        .collect();
    items.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok(Json(List { items }))
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Result<Json<Metadata>, Refused> {
    let (views, connections) = shared
        .kernel
        .ask(|kernel| Ok((kernel.endpoints()?, kernel.connections()?)))
        .await?;
    Ok(Json(metadata::of_agent(&shared, &views, &connections)))
}

/// Whose cells, as in the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CellQuery {
    /// `namespace/name`.
    #[serde(default)]
    endpoint: Option<String>,
    /// Element of `CELLS`.
    #[serde(default)]
    element: Option<u32>,
}

async fn cells(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<CellQuery>,
) -> Result<Json<List<CellRow>>, Refused> {
    let CellQuery { endpoint, element } = query;
    // All cells of all pods are more than anybody reads, and the thread that reads them has other things to do.
    if endpoint.is_none() && element.is_none() {
        let why = "name an endpoint or an element: endpoint=NAMESPACE/NAME, element=NUMBER";
        return Err(Refused(StatusCode::BAD_REQUEST, why.to_owned()));
    }
    let wanted = CellFilter { endpoint, element };
    let cells = shared
        .kernel
        .ask(move |kernel| kernel.cells(&wanted))
        .await?;
    let items = cells.iter().map(CellRow::from).collect();
    Ok(Json(List { items }))
}

async fn objects(State(shared): State<Arc<Shared>>) -> Result<Json<List<Object>>, Refused> {
    let mut items: Vec<Object> = shared
        .kernel
        .ask(|kernel| kernel.objects())
        .await?
        .into_iter()
        .map(Object::from)
        .collect();
    items.sort_by(|a, b| a.pin.cmp(&b.pin));
    Ok(Json(List { items }))
}

/// Which connections, as in the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionQuery {
    #[serde(default)]
    local: Option<String>,
    #[serde(default)]
    remote: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    protocol: Option<String>,
}

/// [`ConnectionQuery`], read.
struct ConnectionFilter {
    local: Option<IpNet>,
    remote: Option<IpNet>,
    port: Option<u16>,
    protocol: Option<u8>,
}

impl ConnectionFilter {
    fn new(query: ConnectionQuery) -> Result<Self, Refused> {
        let ConnectionQuery {
            local,
            remote,
            port,
            protocol,
        } = query;
        let network = |field: &str, text: String| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_not_an_address| text.parse()).map_err(
                |error: ipnet::AddrParseError| {
                    Refused(
                        StatusCode::BAD_REQUEST,
                        format!("{field}: {text:?} is no address or network: {error}"),
                    )
                },
            )
        };
        Ok(Self {
            local: local.map(|text| network("local", text)).transpose()?,
            remote: remote.map(|text| network("remote", text)).transpose()?,
            port,
            protocol: protocol
                .map(|name| {
                    protocol_number(&name).ok_or_else(|| {
                        let what = format!(
                            "protocol: {name:?} is none of tcp, udp, sctp, icmp, icmpv6, 0 to 255"
                        );
                        Refused(StatusCode::BAD_REQUEST, what)
                    })
                })
                .transpose()?,
        })
    }

    fn matches(&self, view: &ConnectionView) -> bool {
        self.local
            .is_none_or(|network| network.contains(&view.local))
            && self
                .remote
                .is_none_or(|network| network.contains(&view.remote))
            && self
                .port
                .is_none_or(|port| port == view.local_port || port == view.remote_port)
            && self
                .protocol
                .is_none_or(|protocol| protocol == view.protocol)
    }
}

async fn connections(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ConnectionQuery>,
) -> Result<Json<List<Connection>>, Refused> {
    let filter = ConnectionFilter::new(query)?;
    let mut items: Vec<Connection> = shared
        .kernel
        .ask(move |kernel| {
            let views = kernel.connections()?;
            let wanted = views.iter().filter(|view| filter.matches(view));
            Ok(wanted
                .map(|view| Connection::new(view, kernel.rule(view.rule)))
                .collect())
        })
        .await?;
    items.sort_by(|a: &Connection, b| {
        (a.local, a.local_port, a.remote, a.remote_port, &a.protocol).cmp(&(
            b.local,
            b.local_port,
            b.remote,
            b.remote_port,
            &b.protocol,
        ))
    });
    Ok(Json(List { items }))
}

async fn flush(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ConnectionQuery>,
) -> Result<Json<Count>, Refused> {
    let filter = ConnectionFilter::new(query)?;
    let flushed = shared
        .kernel
        .ask(move |kernel| kernel.flush(&|view| filter.matches(view)))
        .await?;
    tracing::info!(flushed, "connections forgotten on request");
    Ok(Json(Count { flushed }))
}

async fn events(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<observe::Query>,
) -> Result<Response, Refused> {
    query
        .check()
        .map_err(|what| Refused(StatusCode::BAD_REQUEST, what))?;
    let recorder = Arc::clone(&shared.recorder);
    let subscription = recorder.subscribe(&query);
    let remembered = stream::iter(subscription.recent.into_iter().map(|flow| line(&flow)));
    let body = if query.follow {
        let news = stream::unfold(subscription.news, move |mut news| {
            let (recorder, query) = (Arc::clone(&recorder), query.clone());
            async move {
                loop {
                    match news.recv().await {
                        Ok(flow) if query.matches(&flow) => return Some((line(&flow), news)),
                        Ok(_) => {}
                        Err(RecvError::Lagged(flows)) => {
                            recorder.missed(flows);
                            return Some((lost(flows), news));
                        }
                        Err(RecvError::Closed) => return None,
                    }
                }
            }
        });
        Body::from_stream(remembered.chain(news).map(Ok::<_, Infallible>))
    } else {
        Body::from_stream(remembered.map(Ok::<_, Infallible>))
    };
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], body).into_response())
}

fn line(flow: &Flow) -> Bytes {
    // A flow is strings and numbers: it always has a JSON form.
    let mut line = serde_json::to_vec(flow).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// Tells a follower that it was too slow.
fn lost(flows: u64) -> Bytes {
    format!("{{\"schema\":\"ringfence.lost/v1\",\"flows\":{flows}}}\n").into()
}
