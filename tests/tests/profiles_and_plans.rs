//! The cloud host takes profiles of the models that it serves, keeps them, and plans from them.

use std::sync::Arc;
use std::time::Duration;

use seam_cloud::Config;
use seam_edge::{Client, Error, Timeouts};
use seam_runtime::{Model, Options, Session};
use seam_tests::host::Host;
use seam_tests::onnx;
use seam_tuner::measure::{Effort, profile};
use seam_tuner::{CodecChoice, Environment, Objective, Outline, Plan, Profile, Request};

const EFFORT: Effort = Effort { warm_up: 1, target: 0.5, cap: Duration::from_millis(100) };

const AUTO: CodecChoice = CodecChoice::Auto;

fn profiled(model: &Arc<Model>) -> Profile {
    let mut session = Session::new(model.clone(), Options::from_env().unwrap()).unwrap();
    profile(&mut session, &EFFORT, |_| ())
}

fn client(host: &Host) -> Client {
    Client::new(&host.url(), Timeouts::default()).unwrap()
}

#[test]
fn a_pushed_profile_gives_plans_and_outlives_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let profile = profiled(&model);
    let config = Config { state: Some(state.path().into()), ..Config::new(folder.path()) };
    let environment = Environment::new(256_000.0, 1e6, 0.0).unwrap();
    {
        let host = Host::start(config.clone());
        let client = client(&host);
        let error = client.plan("board", "small", environment, Objective::Best, AUTO).unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("push"), "{error}");
        client.push_profile("board", &profile).unwrap();
        // A second one takes the first one's place.
        client.push_profile("board", &profile).unwrap();
        let error = client.profile("other", "small").unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("push"), "{error}");
        assert!(client.cloud_profile("other").unwrap_err().is_not_found());
    }
    let host = Host::start(config);
    let client = client(&host);
    for objective in Objective::ALL {
        let plan = client.plan("board", "small", environment, objective, AUTO).unwrap();
        assert_eq!(plan.model.sha256, model.id_hex());
        assert_eq!(plan.inputs.edge_profile_sha256, profile.sha256());
        assert_eq!(plan.environment, environment);
        let points: Vec<_> = plan.points.iter().map(|p| p.name.as_str()).collect();
        let graph = model.graph();
        assert_eq!(points, graph.points().map(|p| graph.point_name(p)).collect::<Vec<_>>());
        assert_ne!(plan.best.as_deref(), Some("input"));
    }
    // Both profiles come back as they were planned from, and the plan can be made here.
    let (edge, cloud) = (client.profile("board", "small"), client.cloud_profile("small"));
    let (edge, cloud) = (edge.unwrap(), cloud.unwrap());
    assert_eq!(edge, profile);
    let burst = environment.with_burst(16384.0).unwrap();
    let plan = client.plan("board", "small", burst, Objective::Best, AUTO).unwrap();
    assert_eq!(plan.environment, burst);
    let outline = Outline::of(&model).unwrap();
    let here = Plan::new(&Request::new(&outline, &edge, &cloud, burst, Objective::Best)).unwrap();
    assert_eq!(here.to_json(), plan.to_json());
    // An uplink so slow that every byte counts: nothing but `output` can win.
    let slow = Environment::of_uplink(1.0).unwrap();
    let plan = client.plan("board", "small", slow, Objective::Fastest, AUTO).unwrap();
    assert_eq!((plan.chosen.as_str(), plan.fastest.as_str()), ("output", "output"));
    let error = client.plan("unknown", "small", slow, Objective::Best, AUTO).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_profile_of_another_model_is_refused_and_nothing_is_kept() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = Arc::new(Model::open(&onnx::quantized(here.path(), "small", 1)).unwrap());
    let served = Model::open(&onnx::quantized(there.path(), "small", 2)).unwrap();
    let host = Host::start(Config::new(there.path()));
    let client = client(&host);
    let mut profile = profiled(&model);
    let Error::Refused { status, message, .. } =
        client.push_profile("board", &profile).unwrap_err()
    else {
        panic!("refused")
    };
    assert_eq!(status, 409);
    assert!(message.contains(&model.id_hex()), "{message}");
    assert!(message.contains(&served.id_hex()), "{message}");

    profile.model.name = "other".into();
    assert!(client.push_profile("board", &profile).unwrap_err().is_not_found());

    // The right model's name over times of other points.
    let mut profile = profiled(&model);
    profile.model.sha256 = served.id_hex();
    profile.points.last_mut().unwrap().name = "conv9".into();
    let Error::Refused { status, message, .. } =
        client.push_profile("board", &profile).unwrap_err()
    else {
        panic!("refused")
    };
    assert!(status == 400 && message.contains("conv9"), "{status} {message}");
    assert!(!there.path().join("devices").exists());
}

#[test]
fn no_name_of_a_device_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(&models, "small", 1)).unwrap());
    let profile = profiled(&model);
    let host = Host::start(Config::new(&models));
    let client = client(&host);
    let long = "x".repeat(65);
    for id in ["..", ".", ".hidden", "a/b", "../../up", "a\\b", "a b", "a\0b", "-x", "ü", &long] {
        let Error::Refused { status, message, .. } = client.push_profile(id, &profile).unwrap_err()
        else {
            panic!("{id:?}")
        };
        assert!(status == 400 && message.contains("name of a device"), "{id:?}: {message}");
    }
    assert!(!models.join("devices").exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    client.push_profile("board-1.lab_2", &profile).unwrap();
}

#[test]
fn what_is_no_profile_or_no_environment_is_refused_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    onnx::quantized(folder.path(), "small", 1);
    let host = Host::start(Config::new(folder.path()));
    for (body, cause) in [
        ("", "profile"),
        ("{}", "schema"),
        (r#"{"schema":"seam.profile/9"}"#, "seam.profile/9"),
        (r#"{"schema":"seam.profile/1"}"#, "model"),
    ] {
        let response = host.ask("PUT", "/v2/seam/devices/b/profile", &[], body.as_bytes());
        assert_eq!(response.status, 400);
        assert!(response.error().contains(cause), "{}", response.error());
    }
    for (query, cause) in [
        ("", "model"),
        ("model=small", "uplink"),
        ("model=small&uplink=fast", "fast"),
        ("model=small&uplink=250KB/s", "KiB/s"),
        ("model=small&uplink=0B/s", "at least one byte a second"),
        ("model=small&uplink=1MB/s&rtt=-1ms", "-1ms"),
        ("model=small&uplink=1MB/s&burst=16", "16"),
        ("model=small&uplink=1MB/s&load=x", "load"),
        ("model=small&uplink=1MB/s&load=-1", "load"),
        ("model=small&uplink=1MB/s&objective=cheapest", "cheapest"),
        ("model=small&uplink=1MB/s&codec=gzip", "gzip"),
    ] {
        let path = format!("/v2/seam/devices/b/plan?{query}");
        let response = host.ask("GET", &path, &[], b"");
        assert_eq!(response.status, 400, "{query}");
        assert!(response.error().contains(cause), "{query}: {}", response.error());
    }
}
