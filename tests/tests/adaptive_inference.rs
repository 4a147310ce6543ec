//! The cut follows the link: no reload to move it, a new point once the link has changed, all of
//! the work on the board while the host is away.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use seam_cloud::Config;
use seam_edge::{Adaptive, Client, Error, Event, Inference, Timeouts};
use seam_runtime::preprocess::Pixels;
use seam_runtime::{Model, Options, Point, Session};
use seam_tests::host::{Fake, Host};
use seam_tests::onnx;
use seam_tuner::measure::{Effort, profile};
use seam_tuner::profile::Times;
use seam_tuner::{CodecChoice, Objective, Profile};

const BOARD: &str = "board";

fn client(url: &str) -> Client {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(30),
        answer: Duration::from_secs(60),
    };
    Client::new(url, timeouts).unwrap()
}

fn options() -> Options {
    Options::from_env().unwrap()
}

fn image(seed: u64) -> Pixels {
    Pixels { height: onnx::SIDE, width: onnx::SIDE, channels: 3, data: onnx::pixels(seed) }
}

/// The profile of a board that takes a second for the whole network and no time for a part of it,
/// whose boundary has 200 kB: cut above 200 kB/s, all on the board below.
fn slow_at_the_end(model: &Arc<Model>) -> Profile {
    let effort = Effort { warm_up: 1, target: 0.5, cap: Duration::ZERO };
    let mut session = Session::new(model.clone(), options()).unwrap();
    let mut profile = profile(&mut session, &effort, |_| ());
    for point in &mut profile.points {
        let (seconds, bytes) = if point.name == "output" { (1.0, 0) } else { (0.0, 200_000) };
        point.edge_ns = Times::exactly(seconds * 1e9);
        (point.raw_bytes, point.frame_bytes) = (bytes, bytes);
    }
    profile
}

/// A link to a host whose rate can be changed at any time.
struct Relay {
    address: SocketAddr,
    bytes_per_s: Arc<AtomicU64>,
}

impl Relay {
    fn to(host: SocketAddr, bytes_per_s: u64) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rate = Arc::new(AtomicU64::new(bytes_per_s));
        let bytes_per_s = rate.clone();
        // The threads end with the test's process.
        spawn(move || {
            for board in listener.incoming() {
                let (board, host) = (board.unwrap(), TcpStream::connect(host).unwrap());
                let (mut back, mut to) = (host.try_clone().unwrap(), board.try_clone().unwrap());
                spawn(move || std::io::copy(&mut back, &mut to));
                let rate = rate.clone();
                spawn(move || carry(board, host, &rate));
            }
        });
        Relay { address, bytes_per_s }
    }
}

fn carry(mut board: TcpStream, mut host: TcpStream, bytes_per_s: &AtomicU64) {
    let mut packet = [0; 512];
    let mut free_at = Instant::now();
    while let Ok(bytes @ 1..) = board.read(&mut packet) {
        let taken = bytes as f64 / bytes_per_s.load(Ordering::Relaxed) as f64;
        free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(taken);
        sleep(free_at.saturating_duration_since(Instant::now()));
        if host.write_all(&packet[..bytes]).is_err() {
            break;
        }
    }
    let _ = host.shutdown(Shutdown::Both);
}

#[test]
fn one_inference_moves_between_all_points_and_answers_as_one_made_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let host = Host::start(Config::new(folder.path()));
    let client = client(&host.url());
    let points: Vec<_> = model.graph().points().collect();
    let new =
        |points: &[Point]| Inference::new(model.clone(), points, options(), Some(&client)).unwrap();
    let mut moving = new(&points);
    assert_eq!(moving.point(), Point::Input, "the first that was given");
    let mut answers = Vec::new();
    // Down, up, and far: no boundary outlives the run that made it.
    for &point in points.iter().chain(points.iter().rev()).chain([&points[3], &points[1]]) {
        let pixels = onnx::pixels(answers.len() as u64);
        moving.cut_at(point);
        let answer = moving.run_pixels(&pixels).unwrap();
        let mut fixed = new(&[point]);
        assert_eq!(answer.values, fixed.run_pixels(&pixels).unwrap().values, "{point:?}");
        assert_eq!(moving.boundary(), fixed.boundary(), "{point:?}");
        assert_eq!(answer.load, (point != Point::Output).then_some(0.0), "{point:?}");
        answers.push(answer.values);
    }
    answers.dedup();
    assert_eq!(answers.len(), 2 * points.len() + 2, "every image has an answer of its own");
}

#[test]
#[should_panic(expected = "made for")]
fn a_point_that_nothing_was_made_for_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let mut inference = Inference::new(model, &[Point::Output], options(), None).unwrap();
    inference.cut_at(Point::Candidate(0));
}

#[test]
fn the_cut_moves_once_the_link_has_changed_and_moves_back() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let host = Host::start(Config::new(folder.path()));
    client(&host.url()).push_profile(BOARD, &slow_at_the_end(&model)).unwrap();
    let (fast, slow) = (100_000_000, 20_000);
    let relay = Relay::to(host.address, fast);
    let cloud = client(&format!("http://{}", relay.address));
    let objective = Objective::Fastest;
    let mut adaptive =
        Adaptive::new(model, options(), cloud, BOARD, objective, CodecChoice::Auto).unwrap();
    let (decision, answer) = adaptive.run(&image(0)).unwrap();
    assert_ne!(decision.point, Point::Output);
    assert!(answer.uploaded > 0 && decision.environment.is_some());
    for (rate, alone) in [(slow, true), (fast, false)] {
        relay.bytes_per_s.store(rate, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(60);
        let mut moves = 0;
        while (adaptive.inference().point() == Point::Output) != alone {
            assert!(Instant::now() < until, "still at {:?}", adaptive.inference().point());
            moves += usize::from(adaptive.run(&image(1)).unwrap().0.moved);
            sleep(Duration::from_millis(20));
        }
        assert_eq!(moves, 1, "at {rate} bytes a second");
    }
}

#[test]
fn a_host_that_goes_is_told_of_once_and_used_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let host = Host::start(Config::new(folder.path()));
    let (url, listen) = (host.url(), host.address.to_string());
    client(&url).push_profile(BOARD, &slow_at_the_end(&model)).unwrap();
    let mut adaptive =
        Adaptive::new(model, options(), client(&url), BOARD, Objective::Best, CodecChoice::Auto)
            .unwrap();
    let (decision, _) = adaptive.run(&image(0)).unwrap();
    assert_ne!(decision.point, Point::Output);
    assert!(decision.event.is_none());

    drop(host);
    let (decision, answer) = adaptive.run(&image(1)).unwrap();
    assert_eq!((decision.point, answer.uploaded), (Point::Output, 0));
    assert!(
        matches!(&decision.event, Some(Event::Lost(why)) if why.contains("seam cloud serve")),
        "{:?}",
        decision.event
    );
    for _ in 0..20 {
        let (decision, _) = adaptive.run(&image(2)).unwrap();
        assert_eq!((decision.point, decision.event), (Point::Output, None));
    }

    let _host = Host::start(Config { listen, ..Config::new(folder.path()) });
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (decision, answer) = adaptive.run(&image(3)).unwrap();
        if decision.event == Some(Event::Back) {
            assert_ne!(decision.point, Point::Output);
            assert!(answer.uploaded > 0);
            break;
        }
        assert_eq!((decision.point, decision.event), (Point::Output, None));
        assert!(Instant::now() < until, "the host is back, and nobody looks");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_host_that_was_never_there_is_told_of_with_the_first_image() {
    let folder = tempfile::tempdir().unwrap();
    let seam = onnx::quantized(folder.path(), "small", 1);
    let model = Arc::new(Model::open(&seam).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let new = |model| {
        Adaptive::new(model, options(), client(&url), BOARD, Objective::Best, CodecChoice::Auto)
    };
    let mut adaptive = new(model.clone()).unwrap();
    let (decision, _) = adaptive.run(&image(0)).unwrap();
    assert_eq!((decision.point, decision.environment), (Point::Output, None));
    assert!(matches!(decision.event, Some(Event::Lost(_))));
    assert_eq!(adaptive.run(&image(0)).unwrap().0.event, None);

    // A prefix alone is of no use without a host.
    let prefix = &model.bytes()[..model.prefix_len(Point::Candidate(0)) as usize];
    let short = folder.path().join("short.seam");
    std::fs::write(&short, prefix).unwrap();
    let Err(error) = new(Arc::new(Model::open(&short).unwrap())) else { panic!("needs a host") };
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn a_host_that_has_no_time_leaves_the_work_to_the_board_and_one_that_fails_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let refusing = |status: &'static str| {
        Fake::start(move |_| {
            let body = r#"{"error":"not now"}"#;
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
        })
    };
    let new = |host: &Fake| {
        let (client, objective) = (client(&host.url()), Objective::Best);
        Adaptive::new(model.clone(), options(), client, BOARD, objective, CodecChoice::Auto)
    };
    let mut adaptive = new(&refusing("503 Service Unavailable")).unwrap();
    let (decision, answer) = adaptive.run(&image(0)).unwrap();
    assert_eq!((decision.point, answer.uploaded), (Point::Output, 0));
    assert!(matches!(&decision.event, Some(Event::Lost(why)) if why.contains("not now")));

    let Err(error) = new(&refusing("500 Internal Server Error")) else { panic!("refused") };
    assert!(!error.is_busy() && error.to_string().contains("500"), "{error}");
}

#[test]
fn a_host_without_this_boards_profile_is_no_host_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(&onnx::quantized(folder.path(), "small", 1)).unwrap());
    let host = Host::start(Config::new(folder.path()));
    let client = client(&host.url());
    let Err(error) =
        Adaptive::new(model, options(), client, BOARD, Objective::Best, CodecChoice::Auto)
    else {
        panic!("refused")
    };
    assert!(error.is_not_found(), "{error}");
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("push"));
}
