//! Bytes `[0, prefix_len(p))` of a `.seam` file are a model of the edge part for p: the same graph,
//! the same identity, the same boundary; a deeper prefix continues a shallower one; no other length
//! is accepted.

use std::io::Write;
use std::sync::Arc;

use seam_kernels::Isa;
use seam_runtime::boundary::Frame;
use seam_runtime::prefix::Download;
use seam_runtime::{Model, Options, Point, Session, writer};
use seam_tests::nets::{self, Random};

fn boundary(model: &Arc<Model>, point: Point, codes: &[u8]) -> Vec<u8> {
    let options = Options { point: Some(point), ..Options::new(Isa::best()) };
    let mut session = Session::new(model.clone(), options).unwrap();
    session.input().copy_from_slice(codes);
    session.run();
    Frame::new(model.graph(), point, Some("7")).encode(&session).to_vec()
}

#[test]
fn every_prefix_gives_the_boundary_of_the_whole_file() {
    for seed in 0..3 {
        let (graph, data) = nets::every_operator(seed);
        let bytes = writer::encode(&graph, &data).unwrap();
        let whole = Arc::new(Model::from_bytes(bytes.clone()).unwrap());
        assert_eq!(whole.reaches(), Point::Output);
        let codes = Random::new(seed).codes(graph.tensor(graph.input).bytes());
        let mut shortest = 0;
        for point in graph.points() {
            let len = whole.prefix_len(point) as usize;
            assert!(len >= shortest, "prefixes grow");
            shortest = len;
            let prefix = Arc::new(Model::from_bytes(bytes[..len].to_vec()).unwrap());
            prefix.verify().unwrap();
            assert_eq!(prefix.graph(), whole.graph());
            assert_eq!(prefix.id(), whole.id());
            assert!(prefix.reaches() >= point);
            assert_eq!(prefix.prefix_len(prefix.reaches()), len as u64);
            if point != Point::Input {
                let same = boundary(&prefix, point, &codes) == boundary(&whole, point, &codes);
                assert!(same, "`{}` differs", graph.point_name(point));
            }
        }
        assert_eq!(shortest, bytes.len());
    }
}

#[test]
fn no_other_length_is_a_model() {
    let (graph, data) = nets::random(3, 12);
    let bytes = writer::encode(&graph, &data).unwrap();
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let lens: Vec<u64> = graph.points().map(|p| whole.prefix_len(p)).collect();
    let mut accepted = 0;
    for len in 0..bytes.len() {
        match Model::from_bytes(bytes[..len].to_vec()) {
            Ok(_) => {
                assert!(lens.contains(&(len as u64)), "{len} bytes are no prefix");
                accepted += 1;
            }
            Err(error) => {
                assert!(!lens.contains(&(len as u64)), "{len}: {error}");
                let error = error.to_string();
                assert!(error.contains("truncated") || len == 0, "{error}");
            }
        }
    }
    assert!(accepted > 1);
    let mut longer = bytes;
    longer.push(0);
    let error = Model::from_bytes(longer).err().expect("refused").to_string();
    assert!(error.contains("the file ends at"), "{error}");
}

#[test]
fn a_shorter_prefix_grows_by_what_is_fetched() {
    let (graph, data) = nets::every_operator(1);
    let bytes = writer::encode(&graph, &data).unwrap();
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.seam");
    for point in graph.points() {
        let mut download = Download::to(&path).unwrap();
        let (from, to) = (download.len() as usize, whole.prefix_len(point) as usize);
        download.write_all(&bytes[from..to]).unwrap();
        let model = download.finish().unwrap();
        assert!(model.reaches() >= point);
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[..to]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_broken_or_foreign_continuation_leaves_the_old_prefix() {
    let (graph, data) = nets::every_operator(1);
    let bytes = writer::encode(&graph, &data).unwrap();
    let (other_graph, other_data) = nets::every_operator(2);
    let other = writer::encode(&other_graph, &other_data).unwrap();
    let whole = Model::from_bytes(bytes.clone()).unwrap();
    let first = whole.prefix_len(Point::Candidate(0)) as usize;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.seam");
    writer::write_file(&path, &bytes[..first]).unwrap();

    let refuse = |continuation: &[u8]| {
        let mut download = Download::to(&path).unwrap();
        assert_eq!(download.extends(), Some(whole.id()));
        download.write_all(continuation).unwrap();
        let error = download.finish().err().expect("refused").to_string();
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[..first], "the old prefix is gone");
        error
    };
    let error = refuse(&bytes[first..bytes.len() - 1]);
    assert!(error.contains("net.seam") && error.contains("truncated"), "{error}");
    let mut damaged = bytes[first..].to_vec();
    damaged[70] ^= 1;
    assert!(refuse(&damaged).contains("another model"));
    // From the start, a server may send another model.
    let mut download = Download::to(&path).unwrap();
    download.restart().unwrap();
    download.write_all(&other).unwrap();
    assert_ne!(download.finish().unwrap().id(), whole.id());
}
