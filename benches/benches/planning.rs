//! What planning takes: the candidates and every objective of a network like GoogLeNet, and the
//! general cut of random networks over sizes.
//!
//! `cargo bench -p seam-benches --bench planning`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seam_benches::plans;
use seam_tuner::{Environment, Map, Objective, algorithm1, candidates};

fn googlenet(c: &mut Criterion) {
    let graph = plans::googlenet();
    let points = plans::measured(&graph);
    let environment = Environment::new(256_000.0, 2e7, 0.0).expect("a possible environment");
    let choose = || Objective::ALL.map(|objective| algorithm1(&points, &environment, objective));
    let maps = || Objective::ALL.map(|objective| Map::new(&points, &environment, objective));
    for ((objective, chosen), map) in Objective::ALL.iter().zip(choose()).zip(maps()) {
        let chosen = chosen.map(|i| points[i].name.as_str());
        let map = map.expect("a point");
        assert_eq!(chosen, Some(map.at(256_000.0)), "{objective}: the map says otherwise");
    }
    assert_eq!(candidates(&graph).len(), 12);

    let mut group = c.benchmark_group("googlenet");
    group.bench_function("candidates", |b| b.iter(|| candidates(&graph)));
    group.bench_function("every objective", |b| b.iter(choose));
    group.bench_function("every map", |b| b.iter(maps));
    group.finish();
}

fn general(c: &mut Criterion) {
    let mut group = c.benchmark_group("general cut");
    group.sample_size(20);
    // How far behind a tensor it may be read: anywhere, or among the next few operators.
    for (kind, reach) in [("reads anywhere", usize::MAX), ("reads near", 16)] {
        for nodes in [625, 1_250, 2_500, 5_000, 10_000, 20_000] {
            let net = plans::random(nodes, reach);
            let cut = net.graph().cut().expect("nothing is pinned");
            assert_eq!(net.cost(&cut.on_edge), Some(cut.total_ns), "not what it costs");
            let prefixes = (0..=nodes).step_by(25).filter_map(|n| net.cost_of_prefix(n));
            assert!(prefixes.min() >= Some(cut.total_ns), "a prefix takes less");
            group.throughput(Throughput::Elements(nodes as u64));
            let graph = net.graph();
            group.bench_function(BenchmarkId::new(kind, nodes), |b| b.iter(|| graph.cut()));
        }
    }
}

criterion_group!(benches, googlenet, general);
criterion_main!(benches);
