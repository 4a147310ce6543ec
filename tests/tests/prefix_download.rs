//! A board downloads the prefix that it needs, resumes what broke off, extends what it has, and
//! never takes damaged bytes for a model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seam_cloud::Config;
use seam_edge::{Client, Error, Timeouts};
use seam_runtime::Model;
use seam_runtime::graph::Point;
use seam_tests::host::{Fake, Host};
use seam_tests::onnx;

fn client(url: &str) -> Client {
    let timeouts = Timeouts { stall: Duration::from_secs(5), ..Timeouts::default() };
    Client::new(url, timeouts).unwrap()
}

#[test]
fn ranges_and_tags_are_answered_as_the_rfc_says() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let file = std::fs::read(&seam).unwrap();
    let model = Model::open(&seam).unwrap();
    let graph = model.graph();
    let host = Host::start(Config::new(folder.path()));
    let get = |path: &str, headers: &[(&str, &str)]| {
        host.ask("GET", &format!("/v2/seam/models/{path}"), headers, b"")
    };
    for point in graph.points() {
        let len = model.prefix_len(point) as usize;
        let name = graph.point_name(point);
        let response = get(&format!("small/prefix?point={}", name.replace('/', "%2F")), &[]);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("accept-ranges"), Some("bytes"));
        assert!(response.body == file[..len], "{name}");
    }
    let whole = get("small/prefix", &[]);
    assert!(whole.body == file);
    let etag = whole.header("etag").unwrap();
    let len = file.len();

    let part = get("small/prefix", &[("Range", "bytes=10-19")]);
    assert_eq!((part.status, &part.body[..]), (206, &file[10..20]));
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 10-19/{len}")));
    assert_eq!(part.header("etag"), Some(etag));
    let tail = get("small/prefix", &[("Range", "bytes=-5")]);
    assert_eq!((tail.status, &tail.body[..]), (206, &file[len - 5..]));
    let past = get("small/prefix", &[("Range", &format!("bytes={len}-"))]);
    assert_eq!(past.status, 416);
    assert_eq!(past.header("content-range"), Some(&*format!("bytes */{len}")));
    assert_eq!(past.header("etag"), Some(etag));
    let strange = get("small/prefix", &[("Range", "lines=1-2")]);
    assert_eq!((strange.status, strange.body.len()), (200, len));

    let known = get("small/prefix", &[("If-None-Match", etag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let same = get("small/prefix", &[("Range", "bytes=1-"), ("If-Range", etag)]);
    assert_eq!((same.status, same.body.len()), (206, len - 1));
    let changed = get("small/prefix", &[("Range", "bytes=1-"), ("If-Range", "\"old\"")]);
    assert_eq!((changed.status, changed.body.len()), (200, len));

    assert_eq!(get("small/prefix?point=nowhere", &[]).status, 404);
    assert_eq!(get("other/prefix", &[]).status, 404);
    let listed = host.ask("GET", "/v2/seam/models", &[], b"").json();
    assert_eq!(listed["networks"][0]["model"], model.id_hex());
    assert_eq!(listed["networks"][0]["points"].as_array().unwrap().len(), graph.points().count());
}

#[test]
fn a_deeper_prefix_fetches_only_what_the_shallower_one_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let file = std::fs::read(&seam).unwrap();
    let served = Model::open(&seam).unwrap();
    let host = Host::start(Config::new(folder.path()));
    let board = tempfile::tempdir().unwrap();
    let out = board.path().join("net.seam");
    let client = client(&host.url());
    let graph = served.graph();
    let mut there = 0;
    for point in graph.points() {
        let mut first = None;
        let mut told = |at: u64, all: u64| {
            assert_eq!(all, served.prefix_len(point));
            first.get_or_insert(at);
        };
        let name = graph.point_name(point);
        let model = client.pull("small", Some(name), &out, &mut told).unwrap();
        assert!(model.reaches() >= point);
        let len = served.prefix_len(point);
        assert!(std::fs::read(&out).unwrap() == file[..len as usize]);
        if let Some(first) = first {
            assert!(first > there, "{name} fetched {first} of {len} bytes, {there} were there");
        }
        there = len;
    }
    // A shallower one is there already.
    client.pull("small", Some("input"), &out, &mut |_, _| panic!("nothing to fetch")).unwrap();
    assert!(std::fs::read(&out).unwrap() == file);
    assert_eq!(std::fs::read_dir(board.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_file_of_another_model_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let host = Host::start(Config::new(folder.path()));
    let board = tempfile::tempdir().unwrap();
    let out = onnx::quantized(board.path(), "small", 2);
    client(&host.url()).pull("small", None, &out, &mut |_, _| ()).unwrap();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&seam).unwrap());
}

/// A host that cuts every connection after `piece` bytes of the body.
fn cutting(file: Vec<u8>, etag: String, piece: usize, asked: Arc<Mutex<Vec<usize>>>) -> Fake {
    Fake::start(move |request| {
        let from = request
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok())
            .unwrap_or(0);
        asked.lock().unwrap().push(from);
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let len = file.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {}\r\n\
             Content-Range: bytes {from}-{}/{len}\r\n\r\n",
            len - from,
            len - 1
        );
        [head.as_bytes(), &file[from..len.min(from + piece)]].concat()
    })
}

#[test]
fn a_download_that_breaks_off_is_continued_where_it_broke_off() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let file = std::fs::read(&seam).unwrap();
    let etag = format!("\"{}-{}\"", Model::open(&seam).unwrap().id_hex(), file.len());
    let piece = file.len() / 3 + 1;
    let asked = Arc::default();
    let fake = cutting(file.clone(), etag, piece, Arc::clone(&asked));
    let out = folder.path().join("out.seam");
    client(&fake.url()).pull("small", None, &out, &mut |_, _| ()).unwrap();
    assert!(std::fs::read(&out).unwrap() == file);
    assert_eq!(*asked.lock().unwrap(), [0, piece, 2 * piece]);
}

#[test]
fn a_download_that_never_ends_is_given_up_and_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let fake = Fake::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()
    });
    let before = std::fs::read(&seam).unwrap();
    let error = client(&fake.url()).pull("x", None, &folder.path().join("x.seam"), &mut |_, _| ());
    assert!(error.err().unwrap().is_unreachable());
    assert!(tries.load(Ordering::SeqCst) > 1);
    assert!(std::fs::read(&seam).unwrap() == before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the model and its ONNX");
}

#[test]
fn damaged_bytes_are_no_model_and_leave_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let model = Model::open(&seam).unwrap();
    let good = std::fs::read(&seam).unwrap();
    // The old file: a prefix, which a damaged rest would extend.
    let out = folder.path().join("out.seam");
    let prefix = &good[..model.prefix_len(Point::Candidate(0)) as usize];
    for old in [None, Some(prefix)] {
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        let etag = format!("\"{}-{}\"", model.id_hex(), bad.len());
        if let Some(old) = old {
            std::fs::write(&out, old).unwrap();
        }
        let fake = cutting(bad, etag, usize::MAX / 2, Arc::default());
        let error = client(&fake.url()).pull("small", None, &out, &mut |_, _| ()).err().unwrap();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(std::fs::read(&out).ok().as_deref() == old);
    }
    for answer in ["HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n"] {
        let fake = Fake::start(move |_| answer.as_bytes().to_vec());
        let error = client(&fake.url()).pull("small", None, &out, &mut |_, _| ()).err().unwrap();
        assert!(matches!(error, Error::Nonsense { .. }), "{answer:?}: {error:?}");
        assert!(std::fs::read(&out).unwrap() == prefix);
    }
}
