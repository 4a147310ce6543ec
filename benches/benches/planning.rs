//! What planning takes: the candidates and every objective of a network like GoogLeNet, and the
//! general cut of eight random networks of each size.
//!
//! `cargo bench -p seam-benches --bench planning`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seam_benches::plans;
use seam_tuner::cut::CostGraph;
use seam_tuner::{Map, Objective, Plan, Request, algorithm1, candidates};

fn googlenet(c: &mut Criterion) {
    let graph = plans::googlenet();
    let profiled = plans::Profiled::new(&graph);
    let plans = || Objective::ALL.map(|objective| Plan::new(&profiled.request(objective)));
    let Request { environment, .. } = profiled.request(Objective::Best);
    let points = profiled.request(Objective::Best).admitted().expect("profiles of this model");
    let choices = || Objective::ALL.map(|objective| algorithm1(&points, &environment, objective));
    let maps = || Objective::ALL.map(|objective| Map::new(&points, &environment, objective));
    assert_eq!(candidates(&graph).len(), 12);
    for ((plan, choice), map) in plans().into_iter().zip(choices()).zip(maps()) {
        let (plan, choice, map) =
            (plan.expect("a plan"), choice.expect("a point"), map.expect("a map"));
        assert_eq!(plan.chosen, points[choice].name);
        assert_eq!(plan.chosen, map.at(environment.uplink_bytes_per_s));
    }

    let mut group = c.benchmark_group("googlenet");
    group.bench_function("candidates", |b| b.iter(|| candidates(&graph)));
    group.bench_function("algorithm 1, every objective", |b| b.iter(choices));
    group.bench_function("plans, every objective", |b| b.iter(plans));
    group.bench_function("maps, every objective", |b| b.iter(maps));
    group.finish();
}

/// Random networks of each size.
const NETWORKS: u64 = 8;

fn general(c: &mut Criterion) {
    let mut group = c.benchmark_group("general cut");
    group.sample_size(20);
    // How far behind a tensor it may be read: anywhere, or among the next few operators.
    for (kind, reach) in [("reads anywhere", usize::MAX), ("reads near", 16)] {
        for nodes in [625, 1_250, 2_500, 5_000, 10_000, 20_000] {
            // Networks of one size differ by half in what they take: several, in turns.
            let graphs = (0..NETWORKS).map(|seed| {
                let net = plans::random(nodes, reach, seed);
                let graph = net.graph();
                let cut = graph.cut().expect("nothing is pinned");
                assert_eq!(net.cost(&cut.on_edge), Some(cut.total_ns), "not what it costs");
                let prefixes = (0..=nodes).step_by(25).filter_map(|n| net.cost_of_prefix(n));
                assert!(prefixes.min() >= Some(cut.total_ns), "a prefix takes less");
                graph
            });
            let graphs: Vec<CostGraph> = graphs.collect();
            let cuts = || graphs.iter().map(CostGraph::cut).collect::<Vec<_>>();
            group.throughput(Throughput::Elements(nodes as u64 * NETWORKS));
            group.bench_function(BenchmarkId::new(kind, nodes), |b| b.iter(cuts));
        }
    }
}

criterion_group!(benches, googlenet, general);
criterion_main!(benches);
