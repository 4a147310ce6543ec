//! The boards: their profiles, kept on disk, and plans made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_runtime::graph::Graph;
use seam_tuner::profile::{CloudProfile, ModelRef, Profile};
use seam_tuner::{CodecChoice, Environment, Objective, Outline, Plan, Request, units};
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::Host;
use crate::models::Net;
use crate::profile;

/// Longest name of a device.
const LONGEST_ID: usize = 64;

/// The folder of profiles: `DEVICE/MODEL-ID.json`.
pub(crate) struct Devices {
    folder: PathBuf,
}

/// What a plan is asked for.
#[derive(Deserialize)]
pub(crate) struct PlanQuery {
    /// The network's name.
    model: String,
    /// A rate, such as `250KiB/s`.
    uplink: String,
    /// A size, such as `16KiB`; none by default.
    burst: Option<String>,
    /// A duration, such as `20ms`; none by default.
    rtt: Option<String>,
    /// [`Environment::cloud_load`]; 0 by default.
    load: Option<f64>,
    /// `best` by default.
    objective: Option<String>,
    /// `auto` by default, `none` or a codec's name.
    codec: Option<String>,
}

impl Devices {
    /// Profiles in `folder`, which is made when the first one comes.
    pub(crate) fn new(folder: PathBuf) -> Devices {
        Devices { folder }
    }

    /// The file of a device's profile of a model. Both parts are safe in a path: the device's name
    /// is checked here, the model's identity is hexadecimal.
    fn file(&self, device: &str, net: &Net) -> Result<PathBuf, Failure> {
        let sound = device.len() <= LONGEST_ID
            && device.starts_with(|c: char| c.is_ascii_alphanumeric())
            && device.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !sound {
            return Err(Failure::bad(format!(
                "{device:?} is no name of a device: use up to {LONGEST_ID} letters, digits, '-', \
                 '_' and '.', a letter or digit first"
            )));
        }
        Ok(self.folder.join(device).join(format!("{}.json", net.id())))
    }
}

/// `PUT /v2/seam/devices/{id}/profile`: keeps a profile of one of the host's models.
pub(crate) async fn store(
    host: &Arc<Host>,
    device: &str,
    body: Bytes,
) -> Result<Response, Failure> {
    let profile = Profile::from_json(&body).map_err(|e| Failure::bad(e.to_string()))?;
    let net = host.models.net(&profile.model.name)?;
    if !profile.model.sha256.eq_ignore_ascii_case(&net.id()) {
        return Err(Failure::conflict(format!(
            "the profile is of model {} of {}, this host serves {}: `seam-edge pull` the host's \
             model, profile it and push again",
            profile.model.sha256,
            net.name,
            net.id()
        )));
    }
    fits(&profile, net.model.graph())?;
    let file = host.devices.file(device, net)?;
    let json = profile.to_json();
    tokio::task::spawn_blocking(move || write(&file, json.as_bytes()))
        .await
        .map_err(Failure::internal)?
        .map_err(|e| Failure::internal(format!("the profile cannot be kept: {e}")))?;
    // A plan is what comes next, and needs this host's own times. Should they fail, it says so.
    let (host, net) = (host.clone(), net.clone());
    tokio::spawn(async move { own(&host, &net).await.map(drop) });
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Refuses a profile whose points are not those of `graph`.
fn fits(profile: &Profile, graph: &Graph) -> Result<(), Failure> {
    for point in &profile.points {
        let steps = graph.point(&point.name).map(|p| graph.steps_before(p));
        if steps != Some(point.steps as usize) {
            return Err(Failure::bad(format!(
                "the profile has a point {:?} behind {} steps, which {} has not: profile it anew",
                point.name, point.steps, graph.name
            )));
        }
    }
    Ok(())
}

/// Writes a device's profile, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> seam_runtime::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(seam_runtime::Error::io(folder))?;
    }
    seam_runtime::writer::write_file(path, bytes)
}

/// `GET /v2/seam/devices/{id}/plan`: Algorithm 1 on the device's profile and this host's own.
pub(crate) async fn plan(
    host: &Arc<Host>,
    device: &str,
    query: PlanQuery,
) -> Result<Response, Failure> {
    let bad = |e: seam_tuner::Error| Failure::bad(e.to_string());
    let net = host.models.net(&query.model)?;
    let environment = Environment::new(
        units::rate(&query.uplink).map_err(bad)?,
        query.rtt.as_deref().map_or(Ok(0.0), units::nanoseconds).map_err(bad)?,
        query.load.unwrap_or(0.0),
    )
    .and_then(|environment| match query.burst.as_deref() {
        Some(burst) => environment.with_burst(units::bytes(burst)? as f64),
        None => Ok(environment),
    })
    .map_err(bad)?;
    let objective: Objective =
        query.objective.as_deref().map_or(Ok(Objective::Best), str::parse).map_err(bad)?;
    let codecs: CodecChoice =
        query.codec.as_deref().map_or(Ok(CodecChoice::Auto), str::parse).map_err(bad)?;
    let edge = read(host.devices.file(device, net)?, device, net).await?;
    let cloud = own(host, net).await?;
    // The board may have but a prefix: it is planned for as far as that reaches.
    let outline = Outline::of(&net.model).map_err(Failure::internal)?;
    let outline = match edge.points.last() {
        Some(deepest) => outline.up_to(&deepest.name),
        None => outline,
    };
    let request =
        Request { codecs, ..Request::new(&outline, &edge, cloud, environment, objective) };
    // 409: the profiles are sound, yet they admit no point or lack one.
    let plan = Plan::new(&request).map_err(|e| Failure::conflict(e.to_string()))?;
    Ok(json(plan.to_json()))
}

/// `GET /v2/seam/devices/{id}/profile`: what the device has pushed for a network.
pub(crate) async fn profile(
    host: &Arc<Host>,
    device: &str,
    network: &str,
) -> Result<Response, Failure> {
    let net = host.models.net(network)?;
    let profile = read(host.devices.file(device, net)?, device, net).await?;
    Ok(json(profile.to_json()))
}

/// `GET /v2/seam/models/{name}/profile`: this host's own times.
pub(crate) async fn own_profile(host: &Arc<Host>, network: &str) -> Result<Response, Failure> {
    let profile = own(host, host.models.net(network)?).await?;
    Ok(json(profile.to_json()))
}

fn json(document: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

async fn read(file: PathBuf, device: &str, net: &Net) -> Result<Profile, Failure> {
    let json = match tokio::fs::read(file).await {
        Ok(json) => json,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::missing(format!(
                "no profile of device {device:?} for this model of {}: run `seam-edge profile` and \
                 `seam-edge push` there",
                net.name
            )));
        }
        Err(e) => return Err(Failure::internal(e)),
    };
    Profile::from_json(&json).map_err(Failure::internal)
}

/// This host's own times for `net`, measured by the first plan that needs them.
async fn own<'a>(host: &Host, net: &'a Arc<Net>) -> Result<&'a CloudProfile, Failure> {
    let measure = || {
        let net = net.clone();
        host.heavy(move || {
            let model = ModelRef::new(&net.name, &net.model.id());
            profile::measure(&net.engine, model, &profile::Effort::default(), &mut |_| ())
                .map_err(Failure::internal)
        })
    };
    net.profile.get_or_try_init(measure).await
}
