//! From files in the page cache to the first result: with a pack, which is mapped and used where it
//! lies, and without, where the session lays out the weights.
//!
//! `cargo bench -p seam-benches --bench load`

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use seam_benches::net::Net;
use seam_kernels::Isa;
use seam_runtime::pack::Pack;
use seam_runtime::writer::write_file;
use seam_runtime::{Model, Options, Result, Session};

/// Opens both files, makes a session and runs it once.
fn load(model: &Path, pack: Option<&Path>, input: &[u8]) -> Result<Session> {
    let model = Arc::new(Model::open(model)?);
    let pack = pack.map(Pack::open).transpose()?.map(Arc::new);
    let mut session = Session::new(model, Options { pack, ..Options::new(Isa::best()) })?;
    session.input().copy_from_slice(input);
    session.run();
    Ok(session)
}

fn loads(c: &mut Criterion) {
    let net = Net::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (seam, pack) = (folder.path().join("net.seam"), folder.path().join("net.pack"));
    write_file(&seam, &net.encode().expect("a valid network")).expect("room for it");
    let model = Model::open(&seam).expect("its own file");
    Pack::write(&pack, &model, Isa::best(), &[]).expect("room for it");
    let output = model.graph().output.expect("the edge runs all of it");

    let mut group = c.benchmark_group("load");
    for (name, pack) in [("mapped pack", Some(&*pack)), ("laid out at start", None)] {
        let session = load(&seam, pack, net.input()).expect("a session");
        assert_eq!(session.tensor(output).data(), net.output(), "not the oracle's bits");
        assert_eq!(session.packed_at_start() == 0, pack.is_some());
        group.bench_function(name, |b| b.iter(|| load(&seam, pack, net.input())));
    }
}

criterion_group!(benches, loads);
criterion_main!(benches);
