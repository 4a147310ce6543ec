//! A boundary that crosses by a codec arrives bit for bit, over a real socket; a host that knows no
//! codecs gets it raw; and what cannot be decoded is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_cloud::Config;
use seam_edge::{Client, Inference, Timeouts};
use seam_kernels::Shape;
use seam_runtime::boundary::{Frame, describe};
use seam_runtime::graph::{Element, Point};
use seam_runtime::preprocess::codes;
use seam_runtime::{Codec, Model, Options, Session};
use seam_tests::host::{Fake, Host};
use seam_tests::{nets::Random, onnx};
use seam_tuner::measure::{Effort, profile};
use seam_tuner::{CodecChoice, Environment, Objective, compression};
use serde_json::{Value, json};

const EFFORT: Effort = Effort { warm_up: 1, target: 0.5, cap: Duration::from_millis(100) };

fn client(url: &str) -> Client {
    Client::new(url, Timeouts::default()).unwrap()
}

fn options() -> Options {
    Options::from_env().unwrap()
}

/// A picture that is dark but for a corner: behind a ReLU, much of it is the code of zero.
fn pixels(seed: u64) -> Vec<u8> {
    let mut pixels = onnx::pixels(seed);
    let kept = pixels.len() / 4;
    pixels[kept..].fill(0);
    pixels
}

/// A session that has run to `point`.
fn session(model: &Arc<Model>, point: Point, pixels: &[u8]) -> Session {
    let graph = model.graph();
    let Element::U8 { scale, zero_point } = graph.tensor(graph.input).element else { panic!() };
    let mut session = Session::new(model.clone(), options()).unwrap();
    codes(&graph.preprocess.tables(scale, zero_point), pixels, session.input());
    session.run_to(point);
    session
}

#[test]
fn every_codec_gives_the_answer_of_the_raw_boundary_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let model = Arc::new(Model::open(&seam).unwrap());
    let host = Host::start(Config::new(folder.path()));
    let client = client(&host.url());
    assert_eq!(client.codecs().unwrap(), Codec::ALL);
    let mut shrunk = 0;
    for point in model.graph().points().filter(|&point| point != Point::Output) {
        let raw = || Inference::new(model.clone(), &[point], options(), Some(&client)).unwrap();
        for image in 0..3 {
            let pixels = pixels(100 + image);
            let mut plain = raw();
            let expected = plain.run_pixels(&pixels).unwrap();
            for codec in Codec::ALL {
                let mut coded = raw();
                coded.cross_by(Some(codec)).unwrap();
                assert_eq!(coded.codec(), Some(codec));
                let answer = coded.run_pixels(&pixels).unwrap();
                assert_eq!(answer.values, expected.values, "{codec} at {point:?}");
                assert_eq!(coded.boundary(), plain.boundary());
                shrunk += usize::from(answer.uploaded < expected.uploaded);
            }
        }
    }
    assert!(shrunk > 10, "codecs were at work: {shrunk}");
}

#[test]
fn a_frame_carries_the_tensor_in_the_bytes_that_its_json_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let graph = model.graph();
    for point in graph.points().filter(|&point| point != Point::Output) {
        let description = describe(graph, point);
        let [_, h, w, c] = description.shape;
        let dark = pixels(1);
        let noise = Random::new(3).codes(dark.len());
        for codec in Codec::ALL {
            let mut frame = Frame::coded(graph, point, Some("7"), codec);
            let header = frame.header_len();
            // What shrinks, what does not, and what shrinks again.
            for image in [&dark, &noise, &dark] {
                let session = session(&model, point, image);
                let body = match point {
                    Point::Input => frame.encode_pixels(image),
                    _ => frame.encode(&session),
                }
                .to_vec();
                assert_eq!(frame.header_len(), header);
                let json: Value = serde_json::from_slice(&body[..header]).unwrap();
                let input = &json["inputs"][0];
                let encoded = &body[header..];
                assert_eq!(json["id"], "7");
                assert_eq!(input["shape"], json!(description.shape));
                assert_eq!(input["parameters"]["binary_data_size"], encoded.len());
                let mut tensor = vec![0; description.bytes];
                match input["parameters"].get("codec") {
                    Some(name) => {
                        assert_eq!(*name, codec.name());
                        assert!(encoded.len() < description.bytes);
                        codec.decode(Shape::new(h, w, c), encoded, &mut tensor).unwrap();
                    }
                    None => tensor.copy_from_slice(encoded),
                }
                assert!(tensor == frame.tensor(), "{codec} at {point:?}");
                let mut raw = Frame::new(graph, point, None);
                match point {
                    Point::Input => raw.encode_pixels(image),
                    _ => raw.encode(&session),
                };
                assert!(tensor == raw.tensor(), "{codec} at {point:?}");
            }
            if point == Point::Input {
                frame.encode_pixels(&noise);
                assert_eq!(frame.body().len(), header + noise.len(), "noise crosses raw");
            }
        }
    }
}

#[test]
fn a_host_that_knows_no_codecs_gets_the_boundary_raw() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let point = Point::Candidate(0);
    for metadata in [
        r#"{"name":"other","version":"1","extensions":["binary_tensor_data"]}"#,
        r#"{"name":"later","version":"2","extensions":[],"codecs":["brotli",7,null]}"#,
    ] {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let fake = Fake::start(move |head| {
            seen.lock().unwrap().push(head.to_string());
            let answer = r#"{"outputs":[{"datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
            let body = if head.starts_with("get /v2 ") { metadata } else { answer };
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        });
        let client = client(&fake.url());
        let mut inference =
            Inference::new(model.clone(), &[point], options(), Some(&client)).unwrap();
        inference.cross_by(Some(Codec::Sparse)).unwrap();
        assert_eq!(inference.codec(), None);
        inference.run_pixels(&pixels(1)).unwrap();
        let raw = Frame::new(model.graph(), point, None).body().len();
        let heads = heads.lock().unwrap();
        let length = format!("content-length: {raw}");
        assert!(heads.iter().any(|h| h.starts_with("post") && h.contains(&length)), "{heads:?}");
    }
}

#[test]
fn what_the_host_cannot_decode_is_refused_with_the_codecs_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap();
    let host = Host::start(Config::new(folder.path()));
    let metadata = host.ask("GET", "/v2", &[], b"").json();
    assert!(metadata["extensions"].as_array().unwrap().contains(&json!("seam_codec")));
    assert_eq!(metadata["codecs"], json!(["deflate", "zstd", "sparse"]));

    let input = describe(model.graph(), Point::Input);
    let ask = |codec: Value, bytes: &[u8]| {
        let request = json!({ "inputs": [{
            "name": input.name, "shape": input.shape, "datatype": "UINT8",
            "parameters": { "codec": codec, "binary_data_size": bytes.len() },
        }]})
        .to_string();
        let length = request.len().to_string();
        let headers = [("Inference-Header-Content-Length", length.as_str())];
        let body = [request.as_bytes(), bytes].concat();
        host.ask("POST", "/v2/models/small@input/infer", &headers, &body)
    };
    for codec in [json!("gzip"), json!(""), json!(3), json!(null)] {
        let response = ask(codec, &[1, 2, 3]);
        assert_eq!(response.status, 400);
        assert!(response.error().contains("deflate, zstd, sparse"), "{}", response.error());
    }
    for codec in Codec::ALL {
        let random = Random::new(9).codes(300);
        for bytes in [&[][..], &[0], &random] {
            let response = ask(json!(codec.name()), bytes);
            let error = response.error();
            assert!(response.status == 400 && error.contains(codec.name()), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn a_profile_on_images_lets_the_host_plan_with_codecs() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let host = Host::start(Config::new(folder.path()));
    let client = client(&host.url());
    let mut session = Session::new(model.clone(), options()).unwrap();
    let mut measured = profile(&mut session, &EFFORT, |_| ());
    assert!(measured.points.iter().all(|point| point.codecs.is_empty()));
    let images: Vec<Vec<u8>> = (0..3).map(pixels).collect();
    compression::measure(&mut session, &images, &mut measured, |_| ());
    for point in &measured.points {
        let codecs: Vec<Codec> = point.codecs.iter().map(|row| row.codec).collect();
        let expected = if point.name == "output" { &[][..] } else { &Codec::ALL };
        assert_eq!(codecs, expected, "{}", point.name);
    }
    client.push_profile("board", &measured).unwrap();
    // So slow an uplink that bytes are all that counts.
    let slow = Environment::of_uplink(100.0).unwrap();
    let plan = |choice| client.plan("board", "small", slow, Objective::Fastest, choice).unwrap();
    let (auto, none) = (plan(CodecChoice::Auto), plan(CodecChoice::None));
    let zstd = plan(CodecChoice::Only(Codec::Zstd));
    assert!(none.raw.is_none() && auto.raw.is_some());
    for (i, row) in measured.points.iter().enumerate().filter(|(_, row)| row.name != "output") {
        let least = row.codecs.iter().map(|codec| codec.bytes).min().unwrap();
        let (auto, none, zstd) = (&auto.points[i], &none.points[i], &zstd.points[i]);
        assert_eq!((none.predicted.codec, none.predicted.bytes), (None, row.frame_bytes));
        assert_eq!(auto.predicted.bytes, least.min(row.frame_bytes));
        assert_eq!(auto.raw_total_ns, none.predicted.total_ns);
        assert!(zstd.predicted.codec.is_none_or(|codec| codec == Codec::Zstd));
    }
    let codec = auto.points[1].predicted.codec.expect("behind the first layer a codec pays");
    assert!(auto.points[1].predicted.decode_ns > 0.0, "{codec}");
}
