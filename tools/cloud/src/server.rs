//! The HTTP server: routes, and its life from bind to shutdown.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt;
use seam_runtime::Codec;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::devices::{self, Devices, PlanQuery};
use crate::failure::Failure;
use crate::host::Host;
use crate::models::Models;
use crate::{Config, Error, body, infer, prefix};

/// Longest profile.
const PROFILE_LIMIT: usize = 8 << 20;
/// Longest upload of a board that measures its uplink.
const PROBE_LIMIT: usize = 16 << 20;

/// A cloud host that listens, and answers once [`Server::serve`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    host: Arc<Host>,
}

impl Server {
    /// Reads the model directory and listens.
    ///
    /// # Errors
    /// A model is refused, there is none, or the address is taken.
    pub async fn bind(config: Config) -> Result<Server, Error> {
        let listen = |cause| Error::Listen { address: config.listen.clone(), cause };
        let listener = TcpListener::bind(&config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let directory = config.models.clone();
        let models = tokio::task::spawn_blocking(move || Models::open(&directory))
            .await
            .map_err(|e| Error::Serve(std::io::Error::other(e)))??;
        let state = config.state.clone().unwrap_or_else(|| config.models.join("devices"));
        let host = Arc::new(Host::new(config, models, Devices::new(state)));
        Ok(Server { listener, address, host })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of the networks that it serves.
    pub fn networks(&self) -> Vec<String> {
        self.host.models.names().map(str::to_string).collect()
    }

    /// Answers requests until `stop` is done, and then those under way.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        // Small answers must not wait for more to come.
        let listener = self.listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router(self.host))
            .with_graceful_shutdown(stop)
            .await
            .map_err(Error::Serve)
    }
}

type Shared = State<Arc<Host>>;
type Answer = Result<Response, Failure>;

fn router(host: Arc<Host>) -> axum::Router {
    axum::Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(async || Json(json!({ "live": true }))))
        .route("/v2/health/ready", get(async || Json(json!({ "ready": true }))))
        .route("/v2/models/{*path}", get(model).post(post_model))
        .route("/v2/seam/models", get(networks))
        .route("/v2/seam/models/{name}/prefix", get(get_prefix))
        .route("/v2/seam/models/{name}/profile", get(own_profile))
        .route("/v2/seam/devices/{id}/profile", put(put_profile).get(get_profile))
        .route("/v2/seam/devices/{id}/plan", get(get_plan))
        .route("/v2/seam/probe", put(probe))
        .fallback(async |uri: Uri| Failure::missing(format!("nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("{} does not take {method}", uri.path());
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .with_state(host)
}

async fn server_metadata() -> Json<Value> {
    Json(json!({
        "name": "seam",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "seam", "seam_codec"],
        "codecs": Codec::ALL,
    }))
}

async fn model(State(host): Shared, path: Result<Path<String>, PathRejection>) -> Answer {
    infer::metadata(&host, &segment(path)?).await
}

async fn post_model(
    State(host): Shared,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let path = segment(path)?;
    let (head, body) = request.into_parts();
    infer::infer(&host, &path, &head.headers, body).await
}

/// `GET /v2/seam/models`: every network with its points and their prefixes.
async fn networks(State(host): Shared) -> Json<Value> {
    let network = |net: &Arc<crate::models::Net>| {
        let graph = net.model.graph();
        let points = graph.points().filter(|&p| p <= net.model.reaches()).map(|point| {
            json!({
                "name": graph.point_name(point),
                "prefix_bytes": net.model.prefix_len(point),
            })
        });
        json!({ "name": net.name, "model": net.id(), "points": points.collect::<Vec<_>>() })
    };
    Json(json!({ "networks": host.models.iter().map(network).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
struct PrefixQuery {
    point: Option<String>,
}

async fn get_prefix(
    State(host): Shared,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PrefixQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let net = host.models.net(&segment(path)?)?;
    let point = match parameters(query)?.point {
        Some(name) => net.point(&name)?,
        None => net.model.reaches(),
    };
    prefix::prefix(net, point, &headers)
}

async fn put_profile(
    State(host): Shared,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let device = segment(path)?;
    let (head, body) = request.into_parts();
    let body = body::whole(&head.headers, body, PROFILE_LIMIT, host.config.patience).await?;
    devices::store(&host, &device, body).await
}

#[derive(Deserialize)]
struct ProfileQuery {
    model: String,
}

async fn get_profile(
    State(host): Shared,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ProfileQuery>, QueryRejection>,
) -> Answer {
    devices::profile(&host, &segment(path)?, &parameters(query)?.model).await
}

async fn own_profile(State(host): Shared, path: Result<Path<String>, PathRejection>) -> Answer {
    devices::own_profile(&host, &segment(path)?).await
}

async fn get_plan(
    State(host): Shared,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PlanQuery>, QueryRejection>,
) -> Answer {
    devices::plan(&host, &segment(path)?, parameters(query)?).await
}

/// `PUT /v2/seam/probe`: reads and forgets the body, so that a board can time its uplink, and
/// answers with the load that an inference would meet now.
async fn probe(State(host): Shared, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    body::pieces(&head.headers, body, PROBE_LIMIT, host.config.patience, drop).await?;
    Ok(Json(json!({ "cloud_load": host.load() })).into_response())
}

fn segment(path: Result<Path<String>, PathRejection>) -> Result<String, Failure> {
    path.map(|Path(path)| path).map_err(|e| Failure::bad(e.body_text()))
}

fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    query.map(|Query(query)| query).map_err(|e| Failure::bad(e.body_text()))
}
