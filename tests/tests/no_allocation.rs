//! After `Session::new` nothing allocates: not a run, not a timed run, not the encoding of a
//! boundary, raw or by a codec. Counted by the process's allocator, over a net with convolutions, depthwise and fully
//! connected layers, pools, adds and concats, in place and copied.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seam_kernels::Isa;
use seam_runtime::boundary::Frame;
use seam_runtime::{Codec, Model, Options, Pack, Point, Session, preprocess, writer};
use seam_tests::nets::{self, Random};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocator calls, on any thread, while `work` runs.
fn calls(work: impl FnOnce()) -> usize {
    let before = CALLS.load(Ordering::SeqCst);
    work();
    CALLS.load(Ordering::SeqCst) - before
}

// Without the test harness, whose own thread allocates when it likes.
fn main() {
    nothing_allocates_after_the_session_is_made();
    println!("test nothing_allocates_after_the_session_is_made ... ok");
}

fn nothing_allocates_after_the_session_is_made() {
    assert!(calls(|| drop(std::hint::black_box(Box::new(1)))) >= 2, "the counter counts");
    let (graph, data) = nets::every_operator(5);
    let model = Arc::new(Model::from_bytes(writer::encode(&graph, &data).unwrap()).unwrap());
    let pixels = Random::new(2).codes(graph.tensor(graph.input).bytes());
    let (scale, zero) = graph.tensor(graph.input).element.quantization().unwrap();
    let tables = graph.preprocess.tables(scale, zero);
    for isa in Isa::available() {
        let pack = Pack::from_bytes(Pack::encode(&model, isa, &[]).unwrap()).unwrap();
        let packs = [None, Some(Arc::new(pack))];
        for (threads, pack) in [1, 2].into_iter().flat_map(|n| packs.iter().map(move |p| (n, p))) {
            let options = Options { threads, pack: pack.clone(), ..Options::new(isa) };
            let mut session = Session::new(model.clone(), options).unwrap();
            let frames = |point| {
                let coded = Codec::ALL.map(|codec| Frame::coded(&graph, point, None, codec));
                coded.into_iter().chain([Frame::new(&graph, point, None)])
            };
            let mut frames: Vec<Frame> = graph.points().flat_map(frames).collect();
            let mut ns = vec![0; graph.steps.len()];
            let mut values = vec![0.0; 10];
            let mut sum = 0;
            let counted = calls(|| {
                for _ in 0..3 {
                    preprocess::codes(&tables, &pixels, session.input());
                    for frame in &mut frames {
                        session.run_to(frame.point());
                        sum += match frame.point() {
                            Point::Input => frame.encode_pixels(&pixels),
                            _ => frame.encode(&session),
                        }
                        .len();
                    }
                    session.run();
                    session.run_timed(Point::Output, &mut ns);
                    session.output_f32(&mut values);
                }
            });
            assert!(sum > 0);
            assert_eq!(counted, 0, "{isa}, {threads} threads, pack: {}", pack.is_some());
        }
    }
}
