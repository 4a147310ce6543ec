//! A cloud host starts with a directory that it can serve whole, or says what is wrong with it.

use std::path::Path;

use seam_cloud::{Config, Error, Server};
use seam_tests::onnx;

fn bind(config: Config) -> Result<Vec<String>, Error> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { Ok(Server::bind(config).await?.networks()) })
}

fn refused(folder: &Path) -> String {
    let line = bind(Config::new(folder)).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn every_network_of_the_directory_is_served() {
    let folder = tempfile::tempdir().unwrap();
    onnx::quantized(folder.path(), "b", 1);
    onnx::quantized(folder.path(), "a", 2);
    std::fs::write(folder.path().join("notes.txt"), "no model").unwrap();
    assert_eq!(bind(Config::new(folder.path())).unwrap(), ["a", "b"]);
}

#[test]
fn what_cannot_be_served_stops_the_start_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(refused(&folder.join("missing")).contains("missing"));
    assert!(refused(folder).contains("seam quantize"));

    let seam = onnx::quantized(folder, "net", 1);
    let model = std::fs::read(&seam).unwrap();
    std::fs::write(&seam, &model[..model.len() - 1]).unwrap();
    assert!(refused(folder).contains("truncated"));
    std::fs::write(&seam, b"").unwrap();
    assert!(refused(folder).contains("net.seam"));
    std::fs::write(&seam, &model).unwrap();

    std::fs::copy(&seam, folder.join("twin.seam")).unwrap();
    let line = refused(folder);
    assert!(line.contains("net.seam") && line.contains("twin.seam"), "{line}");
    std::fs::remove_file(folder.join("twin.seam")).unwrap();

    let onnx = seam.with_extension("onnx");
    std::fs::write(&onnx, b"not a network").unwrap();
    assert!(refused(folder).contains("net.onnx"));
    std::fs::remove_file(&onnx).unwrap();
    let line = refused(folder);
    assert!(line.contains("net.onnx is missing"), "{line}");
}

#[test]
fn an_address_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    onnx::quantized(folder.path(), "net", 1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let line = bind(Config { listen: listen.clone(), ..Config::new(folder.path()) }).unwrap_err();
    assert!(line.to_string().contains(&listen), "{line}");
}
