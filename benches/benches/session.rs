//! A whole session on one and two threads: what the steps cost together.
//!
//! `cargo bench -p seam-benches --bench session`

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::net::Net;
use seam_kernels::Isa;
use seam_runtime::{Model, Options, Session};

fn sessions(c: &mut Criterion) {
    let net = Net::new();
    let file = net.encode().expect("a valid network");
    let model = Arc::new(Model::from_bytes(file).expect("its own file"));
    let mut group = c.benchmark_group("session");
    for isa in Isa::available() {
        for threads in [1, 2] {
            let options = Options { threads, ..Options::new(isa) };
            let mut session = Session::new(model.clone(), options).expect("a session");
            session.input().copy_from_slice(net.input());
            session.run();
            let output = model.graph().output.expect("the edge runs all of it");
            assert_eq!(session.tensor(output).data(), net.output(), "not the oracle's bits");
            let name = format!("{isa}, {threads} threads");
            group.bench_function(name, |b| b.iter(|| session.run()));
        }
    }
}

criterion_group!(benches, sessions);
criterion_main!(benches);
