//! A session computes the oracle's bits: every operator, however tensors share memory, with any
//! number of threads, on every instruction set, with and without a pack.

use std::sync::Arc;

use seam_kernels::Isa;
use seam_runtime::graph::{Graph, StepData};
use seam_runtime::memory::{MemoryPlan, Work};
use seam_runtime::{Model, Options, Pack, Point, Session, TensorId, writer};
use seam_tests::nets::{self, Random};

fn model(net: &(Graph, Vec<StepData>)) -> Arc<Model> {
    let bytes = writer::encode(&net.0, &net.1).unwrap();
    let model = Model::from_bytes(bytes).unwrap();
    model.verify().unwrap();
    assert_eq!(model.graph(), &net.0);
    Arc::new(model)
}

fn bytes(session: &Session, id: TensorId) -> Vec<u8> {
    let view = session.tensor(id);
    (0..view.shape().pixels()).flat_map(|i| view.pixel(i).to_vec()).collect()
}

#[test]
fn every_operator_gives_the_oracles_bits() {
    for seed in 0..4 {
        let net = nets::every_operator(seed);
        let model = model(&net);
        let input = Random::new(seed + 100).codes(net.0.tensor(net.0.input).bytes());
        let expected = nets::oracle(&net.0, &net.1, &input);
        for isa in Isa::available() {
            for threads in [1, 2, 7] {
                let options = Options { threads, keep_tensors: true, ..Options::new(isa) };
                let mut session = Session::new(model.clone(), options).unwrap();
                session.input().copy_from_slice(&input);
                session.run();
                for (step, record) in net.0.steps.iter().enumerate() {
                    let found = bytes(&session, record.output);
                    let name = session.kernel_name(step);
                    assert!(
                        found == expected[record.output.0 as usize],
                        "seed {seed}, {isa}, {threads} threads: `{}` by {name} differs",
                        record.name
                    );
                }
            }
        }
    }
}

/// Boundaries are all that a session with shared memory must keep.
fn check_boundaries(net: &(Graph, Vec<StepData>), seed: u64, threads: usize, isa: Isa) {
    let model = model(net);
    let (graph, data) = net;
    let input = Random::new(seed).codes(graph.tensor(graph.input).bytes());
    let expected = nets::oracle(graph, data, &input);
    let mut session = Session::new(model, Options { threads, ..Options::new(isa) }).unwrap();
    session.input().copy_from_slice(&input);
    for point in graph.points() {
        session.run_to(point);
        let boundary = graph.boundary(point);
        let same = bytes(&session, boundary) == expected[boundary.0 as usize];
        assert!(same, "seed {seed}, {isa}: the boundary at `{}` differs", graph.point_name(point));
    }
    // The input has stayed, so a second run gives the same.
    session.run();
    let output = graph.boundary(Point::Output);
    let mut values = vec![0.0; graph.tensor(output).shape.len()];
    session.output_f32(&mut values);
    let (scale, zero) = graph.tensor(output).element.quantization().unwrap();
    for (value, &code) in values.iter().zip(&expected[output.0 as usize]) {
        assert_eq!(*value, f32::from(i16::from(code) - i16::from(zero)) * scale);
    }
}

#[test]
fn shared_memory_changes_no_boundary() {
    for seed in 0..4 {
        check_boundaries(&nets::every_operator(seed), seed, 2, Isa::best());
    }
    let (mut placed, mut in_place, mut copied) = (0, 0, 0);
    for seed in 0..120 {
        let net = nets::random(seed, 5 + seed as usize % 30);
        check_boundaries(&net, seed, 1, if seed % 2 == 0 { Isa::PORTABLE } else { Isa::best() });
        let session = Session::new(model(&net), Options::new(Isa::PORTABLE)).unwrap();
        for (work, step) in session.memory_plan().work.iter().zip(&net.0.steps) {
            match work {
                Work::Copies(inputs) => {
                    copied += inputs.len();
                    placed += step.inputs.len() - inputs.len();
                }
                Work::InPlace => in_place += 1,
                _ => {}
            }
        }
    }
    println!("{placed} inputs of concats in place, {copied} copied, {in_place} steps in place");
    assert!(placed > 50 && in_place > 50 && copied > 50, "the nets don't exercise the plan");
}

#[test]
fn tensors_share_memory() {
    let (graph, _) = nets::every_operator(0);
    let plan = MemoryPlan::new(&graph, graph.steps.len(), false).unwrap();
    let (shared, unshared) = (plan.arena_bytes, plan.unshared_bytes);
    assert!(shared < unshared / 2, "{shared} of {unshared}");
}

#[test]
fn a_pack_gives_the_same_bits_and_nothing_is_laid_out_at_start() {
    let net = nets::every_operator(9);
    let model = model(&net);
    let input = Random::new(1).codes(net.0.tensor(net.0.input).bytes());
    let run = |options: Options| {
        let mut session = Session::new(model.clone(), options).unwrap();
        session.input().copy_from_slice(&input);
        session.run();
        (bytes(&session, net.0.output.unwrap()), session.packed_at_start())
    };
    let folder = tempfile::tempdir().unwrap();
    for isa in Isa::available() {
        let path = folder.path().join("net.pack");
        Pack::write(&path, &model, isa, &[]).unwrap();
        let pack = Pack::open(&path).unwrap();
        pack.verify().unwrap();
        let (fresh, laid_out) = run(Options::new(isa));
        let packed_bytes = pack.packed_bytes();
        let (packed, nothing) = run(Options { pack: Some(Arc::new(pack)), ..Options::new(isa) });
        assert_eq!(fresh, packed);
        assert_eq!((laid_out, nothing), (packed_bytes, 0));
    }
}

#[test]
fn a_pack_that_does_not_fit_is_refused() {
    let (one, other) = (model(&nets::every_operator(1)), model(&nets::every_operator(2)));
    let bytes = Pack::encode(&one, Isa::PORTABLE, &[]).unwrap();
    let pack = Arc::new(Pack::from_bytes(bytes.clone()).unwrap());
    let refuse = |model: &Arc<Model>, isa| {
        let options = Options { pack: Some(pack.clone()), ..Options::new(isa) };
        Session::new(model.clone(), options).err().expect("refused").to_string()
    };
    assert!(refuse(&other, Isa::PORTABLE).contains("pack is of model"));
    if Isa::best() != Isa::PORTABLE {
        assert!(refuse(&one, Isa::best()).contains("pack is of instruction set portable"));
    }
    for (len, word) in [(0, "magic"), (20, "header"), (bytes.len() - 1, "truncated")] {
        let error = Pack::from_bytes(bytes[..len].to_vec()).err().expect("refused").to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(Pack::from_bytes(damaged).unwrap().verify().is_err());
    for at in 0..200 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Pack::from_bytes(damaged).is_err(), "byte {at}");
    }
}

#[test]
fn a_point_beyond_the_prefix_is_refused() {
    let (graph, data) = nets::every_operator(3);
    let whole = writer::encode(&graph, &data).unwrap();
    let first = Model::from_bytes(whole.clone()).unwrap().prefix_len(Point::Candidate(0));
    let prefix = Arc::new(Model::from_bytes(whole[..first as usize].to_vec()).unwrap());
    let options = Options { point: Some(Point::Output), ..Options::new(Isa::PORTABLE) };
    let error = Session::new(prefix, options).err().expect("refused").to_string();
    assert!(error.contains("not `output`"), "{error}");
}
