//! A network cut in two, with a real socket in between, answers as the same two parts do in one
//! process; and without a host, or with a strange one, it says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seam_cloud::Config;
use seam_compiler::Engine;
use seam_edge::{Client, Error, Inference, Timeouts};
use seam_runtime::graph::{Element, Point};
use seam_runtime::preprocess::codes;
use seam_runtime::{Model, Options, Session, image};
use seam_tests::host::{Fake, Host};
use seam_tests::{onnx, shared};

fn client(url: &str) -> Client {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        answer: Duration::from_secs(60),
    };
    Client::new(url, timeouts).unwrap()
}

fn options(threads: usize) -> Options {
    Options { threads, ..Options::from_env().unwrap() }
}

/// The edge part and the tail, one after the other in this process.
fn in_one_process(model: &Arc<Model>, engine: &Engine, point: Point, pixels: &[u8]) -> Vec<f32> {
    let graph = model.graph();
    if point == Point::Input {
        return engine.tail(point).unwrap().run(&[pixels]).unwrap();
    }
    let Element::U8 { scale, zero_point } = graph.tensor(graph.input).element else { panic!() };
    let mut session = Session::new(model.clone(), options(1)).unwrap();
    codes(&graph.preprocess.tables(scale, zero_point), pixels, session.input());
    session.run_to(point);
    if point == Point::Output {
        let mut values = vec![0.0; graph.tensor(graph.boundary(point)).shape.len()];
        session.output_f32(&mut values);
        return values;
    }
    let view = session.tensor(graph.boundary(point));
    let dense: Vec<u8> = (0..view.shape().pixels()).flat_map(|i| view.pixel(i).to_vec()).collect();
    engine.tail(point).unwrap().run(&[&dense]).unwrap()
}

#[test]
fn a_split_over_a_socket_answers_as_the_same_split_in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let model = Arc::new(Model::open(&seam).unwrap());
    let engine = Engine::open(&seam).unwrap();
    let host = Host::start(Config::new(folder.path()));
    let client = client(&host.url());
    let points: Vec<_> = model.graph().points().collect();
    assert!(points.len() >= 5, "input, three candidates and output at least: {points:?}");
    for &point in &points {
        let mut inference =
            Inference::new(model.clone(), &[point], options(2), Some(&client)).unwrap();
        for image in 0..3 {
            let pixels = onnx::pixels(100 + image);
            let answer = inference.run_pixels(&pixels).unwrap();
            let expected = in_one_process(&model, &engine, point, &pixels);
            let largest = expected.iter().fold(0f32, |a, v| a.max(v.abs()));
            assert!(largest > 0.1, "an answer that says something: {expected:?}");
            for (value, expected) in answer.values.iter().zip(&expected) {
                assert!((value - expected).abs() <= 1e-5 * largest, "{point:?}");
            }
            assert_eq!(answer.values.len(), 10);
            let timing = answer.timing;
            let parts =
                timing.preprocess + timing.edge + timing.encode + timing.upload + timing.cloud;
            assert!(parts <= timing.total);
            assert_eq!(answer.uploaded > 0, point != Point::Output);
            assert_eq!(timing.cloud > Duration::ZERO, point != Point::Output);
        }
    }
}

#[test]
fn trained_networks_answer_over_a_socket_as_in_one_process() {
    let Some(shared) = shared::folder() else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["resnet18_layer3_coarse8", "googlenet_bn_pruned"] {
        let preprocess = shared::preprocess(&shared, name);
        let network = seam_compiler::import(&shared.join(format!("models/{name}.onnx"))).unwrap();
        let load = |path: &PathBuf| {
            preprocess.pixels(&image::load(path).unwrap(), network.input_shape()).unwrap()
        };
        let images = shared::images(&shared, "ilsvrc_calib_100", 5);
        let images: Vec<Vec<u8>> = images.iter().map(load).collect();
        let seam = onnx::quantize(&network, &preprocess, &images[..4], folder.path(), name);
        let model = Arc::new(Model::open(&seam).unwrap());
        let engine = Engine::open(&seam).unwrap();
        let host = Host::start(Config::new(folder.path()));
        let client = client(&host.url());
        let candidates = model.graph().candidates.len();
        for point in [0, candidates / 2, candidates - 1].map(Point::Candidate) {
            let mut inference =
                Inference::new(model.clone(), &[point], options(2), Some(&client)).unwrap();
            let answer = inference.run_pixels(&images[4]).unwrap();
            let expected = in_one_process(&model, &engine, point, &images[4]);
            let largest = expected.iter().fold(0f32, |a, v| a.max(v.abs()));
            assert_eq!(answer.values.len(), expected.len());
            for (value, expected) in answer.values.iter().zip(&expected) {
                assert!((value - expected).abs() <= 1e-5 * largest, "{name} at {point:?}");
            }
        }
    }
}

#[test]
fn codes_of_another_model_are_refused_and_not_misread() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = Model::open(&onnx::quantized(here.path(), "small", 1)).unwrap();
    let other = Model::open(&onnx::quantized(there.path(), "small", 2)).unwrap();
    let host = Host::start(Config::new(there.path()));
    let client = client(&host.url());
    let model = Arc::new(model);
    let mut inference =
        Inference::new(model.clone(), &[Point::Candidate(0)], options(1), Some(&client)).unwrap();
    let error = inference.run_pixels(&onnx::pixels(0)).unwrap_err().to_string();
    assert!(error.contains("409"), "{error}");
    assert!(error.contains(&model.id_hex()) && error.contains(&other.id_hex()), "{error}");
}

fn ask(url: &str) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let client = client(url);
    let mut inference =
        Inference::new(model, &[Point::Candidate(0)], options(1), Some(&client)).unwrap();
    inference.run_pixels(&onnx::pixels(0)).unwrap_err()
}

#[test]
fn a_host_that_is_not_there_is_named_with_a_remedy() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = ask(&url);
    assert!(error.is_unreachable());
    let line = error.to_string();
    assert!(line.contains(&url) && line.contains("seam cloud serve"), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[test]
fn a_host_that_answers_nonsense_is_named_with_a_remedy() {
    let http = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let answers = [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        http("200 OK", "<html>hello</html>"),
        http("200 OK", "{}"),
        http("200 OK", r#"{"outputs":[]}"#),
        http("200 OK", r#"{"outputs":[{"datatype":"FP32","shape":[1,10],"data":[1,2]}]}"#),
        http("200 OK\r\nInference-Header-Content-Length: 999", "{}"),
        http("200 OK\r\nInference-Header-Content-Length: many", "{}"),
        http("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        http("404 Not Found", "<html>no such page</html>"),
        http("500 Oops", ""),
    ];
    for answer in answers {
        let said = String::from_utf8_lossy(&answer).into_owned();
        let fake = Fake::start(move |_| answer.clone());
        let error = ask(&fake.url());
        let line = error.to_string();
        assert!(matches!(error, Error::Nonsense { .. }), "{said:?} gives {error:?}");
        assert!(line.contains(&fake.url()) && line.contains("check that"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_host_that_hangs_up_half_way_counts_as_unreachable() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"outputs\""] {
        let fake = Fake::start(move |_| answer.to_vec());
        let error = ask(&fake.url());
        assert!(error.is_unreachable(), "{error:?}");
    }
}
