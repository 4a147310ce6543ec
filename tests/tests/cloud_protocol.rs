//! The cloud host speaks the Open Inference Protocol v2, in JSON and with binary tensors.

use std::io::Write;
use std::net::TcpStream;

use seam_cloud::Config;
use seam_compiler::Engine;
use seam_runtime::graph::Point;
use seam_tests::host::{Host, Response};
use seam_tests::{nets::Random, onnx};
use serde_json::{Value, json};

struct Served {
    host: Host,
    engine: Engine,
    _folder: tempfile::TempDir,
}

fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let engine = Engine::open(&seam).unwrap();
    Served { host: Host::start(Config::new(folder.path())), engine, _folder: folder }
}

/// The tail's name as some clients write it in a path: slashes of node names stay bare.
fn name(engine: &Engine, point: Point) -> String {
    format!("small@{}", engine.graph().point_name(point))
}

fn cuts(engine: &Engine) -> Vec<Point> {
    engine.graph().points().filter(|&p| p != Point::Output).collect()
}

#[test]
fn health_and_metadata_are_where_the_protocol_says() {
    let Served { host, engine, .. } = served();
    let get = |path: &str| host.ask("GET", path, &[], b"");
    assert_eq!(get("/v2/health/live").status, 200);
    assert_eq!(get("/v2/health/ready").status, 200);
    let server = get("/v2").json();
    assert_eq!(server["name"], "seam");
    assert!(server["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    for point in cuts(&engine) {
        let name = name(&engine, point);
        let tail = engine.tail(point).unwrap();
        for path in [&name, &format!("{name}/versions/1"), &name.replace('/', "%2F")] {
            let metadata = get(&format!("/v2/models/{path}")).json();
            assert_eq!(metadata["name"], *name);
            assert_eq!(metadata["versions"], json!(["1"]));
            let input = &metadata["inputs"][0];
            assert_eq!(input["datatype"], "UINT8");
            assert_eq!(input["name"], tail.inputs()[0].name);
            assert_eq!(input["shape"], json!(tail.inputs()[0].shape));
            let output = json!([{ "name": "fc", "datatype": "FP32", "shape": [1, 10] }]);
            assert_eq!(metadata["outputs"], output);
            assert_eq!(get(&format!("/v2/models/{path}/ready")).status, 200);
        }
    }
}

#[test]
fn json_and_binary_requests_get_the_engines_own_answer() {
    let Served { host, engine, .. } = served();
    for point in cuts(&engine) {
        let tail = engine.tail(point).unwrap();
        let input = &tail.inputs()[0];
        let codes = Random::new(7).codes(input.shape.iter().product());
        let expected = tail.run(&[&codes]).unwrap();
        let path = format!("/v2/models/{}/infer", name(&engine, point));

        let tensor = json!({ "name": input.name, "datatype": "UINT8", "shape": input.shape });
        let mut nested = tensor.clone();
        // As deep as the shape, and flat.
        let row = *input.shape.last().unwrap();
        nested["data"] = json!([codes.chunks(row).collect::<Vec<_>>()]);
        let mut flat = tensor.clone();
        flat["data"] = json!(codes);
        for tensor in [nested, flat] {
            let request = json!({ "id": "q1", "inputs": [tensor], "outputs": [{ "name": "fc" }] });
            let response = host.ask("POST", &path, &[], request.to_string().as_bytes());
            assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
            let answer = response.json();
            assert_eq!(answer["id"], "q1");
            assert_eq!(answer["model_name"], name(&engine, point));
            assert!(answer["parameters"]["cloud_ns"].as_u64().unwrap() > 0);
            let data = answer["outputs"][0]["data"].as_array().unwrap();
            let values: Vec<f32> = data.iter().map(|v| v.as_f64().unwrap() as f32).collect();
            assert_eq!(values, expected);
        }

        let mut binary = tensor;
        binary["parameters"] = json!({ "binary_data_size": codes.len() });
        let asked = [
            json!({ "parameters": { "binary_data_output": true } }),
            json!({ "outputs": [{ "name": "fc", "parameters": { "binary_data": true } }] }),
        ];
        for mut request in asked {
            request["inputs"] = json!([binary]);
            let response = ask_binary(&host, &path, &request, &codes);
            assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
            let json: usize =
                response.header("inference-header-content-length").unwrap().parse().unwrap();
            let head: Value = serde_json::from_slice(&response.body[..json]).unwrap();
            assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 40);
            let values: Vec<f32> = response.body[json..]
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect();
            assert_eq!(values, expected);
        }
    }
}

fn ask_binary(host: &Host, path: &str, request: &Value, raw: &[u8]) -> Response {
    let json = request.to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), raw].concat();
    host.ask("POST", path, &[("Inference-Header-Content-Length", &length)], &body)
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_status_and_cause() {
    let Served { host, engine, .. } = served();
    let input = name(&engine, Point::Input);
    let infer = format!("/v2/models/{input}/infer");
    let long = "9".repeat(10);
    for (method, path, headers, body, status, cause) in [
        ("GET", "/v2/models/other", &[][..], "", 404, "this host serves small"),
        ("GET", "/v2/models/small@nowhere", &[], "", 404, "its points are input"),
        ("GET", "/v2/models/small@output", &[], "", 404, "the edge has the answer"),
        ("GET", &format!("/v2/models/{input}/versions/2"), &[], "", 404, "no version"),
        ("POST", &format!("/v2/models/{input}"), &[], "{}", 404, "/infer"),
        ("DELETE", "/v2", &[], "", 405, "DELETE"),
        ("GET", "/v1", &[], "", 404, "/v1"),
        ("GET", "/v2/models/%FF", &[], "", 400, "UTF-8"),
        ("POST", &infer, &[], "not JSON", 400, "JSON"),
        ("POST", &infer, &[], "{\"inputs\":[]}", 400, "is missing"),
        ("POST", &infer, &[("Inference-Header-Content-Length", "x")], "{}", 400, "no number"),
        ("POST", &infer, &[("Inference-Header-Content-Length", &long)], "{}", 400, "2 bytes"),
        ("POST", &infer, &[("Content-Encoding", "gzip")], "{}", 415, "compressed"),
        ("POST", &infer, &[("Seam-Model", "00ff")], "{}", 409, "00ff"),
    ] {
        let response = host.ask(method, path, headers, body.as_bytes());
        let (got, error) = (response.status, response.error());
        assert!(got == status && error.contains(cause), "{method} {path}: {got} {error}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn a_body_longer_than_any_request_is_refused_before_it_is_sent() {
    let Served { host, engine, .. } = served();
    for (method, path) in [
        ("POST", format!("/v2/models/{}/infer", name(&engine, Point::Input))),
        ("PUT", "/v2/seam/devices/board/profile".to_string()),
        ("PUT", "/v2/seam/probe".to_string()),
    ] {
        let mut stream = TcpStream::connect(host.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
             Content-Length: 1000000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let response = Response::read(stream);
        assert_eq!(response.status, 413, "{path}");
        assert!(response.error().contains("longer than"), "{}", response.error());
    }
    // Without a length to go by, the limit still holds.
    let mut stream = TcpStream::connect(host.address).unwrap();
    let head = format!(
        "POST /v2/models/{}/infer HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        name(&engine, Point::Input)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let limit = (64 << 10) + 8 * onnx::pixels(0).len();
    let chunk = format!("{:x}\r\n{}", limit + 1, " ".repeat(limit + 1));
    stream.write_all(chunk.as_bytes()).unwrap();
    assert_eq!(Response::read(stream).status, 413);
}
