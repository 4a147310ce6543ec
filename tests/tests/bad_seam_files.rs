//! No `.seam` file, however damaged, makes the reader panic or take memory out of proportion, and
//! every refusal names its cause.

use std::sync::Arc;

use proptest::prelude::*;
use seam_kernels::Isa;
use seam_runtime::graph::{Element, Graph, Op, StepData};
use seam_runtime::{Error, Model, Options, Session, TensorId, format, writer};
use seam_tests::nets;

fn file() -> Vec<u8> {
    let (graph, data) = nets::every_operator(6);
    writer::encode(&graph, &data).unwrap()
}

/// Opens, verifies and runs as far as the bytes allow.
fn exercise(bytes: Vec<u8>) -> Result<(), Error> {
    let model = Model::from_bytes(bytes)?;
    model.verify()?;
    // A changed shape may be consistent and large: what it asks for stays within the limits.
    let macs = model.graph().steps.iter().map(|step| match &step.op {
        Op::Conv { geometry, .. } | Op::FloatConv { geometry, .. } => geometry.macs(),
        _ => model.graph().tensor(step.output).bytes() as u64,
    });
    if macs.sum::<u64>() < 100_000_000 {
        let mut session = Session::new(Arc::new(model), Options::new(Isa::PORTABLE))?;
        session.run();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = file();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(exercise(bytes).is_err(), "byte {}", at);
    }

    /// With the checksum made right again, the checks of single fields must do.
    #[test]
    fn a_resealed_header_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = file();
        let header = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        for (at, value) in changes {
            bytes[48 + at.index(header - 48)] = value;
        }
        format::seal(&mut bytes);
        let _ = exercise(bytes);
    }

    #[test]
    fn a_cut_or_lengthened_file_never_panics(
        len in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = file();
        let len = len.index(bytes.len());
        let _ = exercise(bytes[..len].to_vec());
        bytes.extend_from_slice(&more);
        prop_assert_eq!(exercise(bytes).is_err(), !more.is_empty());
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(exercise(bytes).is_err());
    }
}

/// The message for a graph changed by `change` before it is written.
fn refusal(change: impl FnOnce(&mut Graph, &mut Vec<StepData>)) -> String {
    let (mut graph, mut data) = nets::every_operator(6);
    change(&mut graph, &mut data);
    writer::encode(&graph, &data).expect_err("refused").to_string()
}

fn expect(message: String, words: &[&str]) {
    assert!(words.iter().all(|word| message.contains(word)), "{message:?} lacks one of {words:?}");
    assert!(!message.contains('\n'));
}

fn stem(graph: &mut Graph) -> &mut seam_kernels::ConvGeometry {
    match &mut graph.steps[0].op {
        Op::Conv { geometry, .. } => geometry,
        other => panic!("the first step is {}", other.name()),
    }
}

#[test]
fn messages_name_the_record_and_the_field() {
    let nan = Element::U8 { scale: f32::NAN, zero_point: 0 };
    expect(refusal(|g, _| g.tensors[3].element = nan), &["tensor 3", "scale", "NaN"]);
    expect(refusal(|g, _| g.tensors[2].shape.h = 0), &["tensor 2", "shape"]);
    expect(refusal(|g, _| g.tensors[2].shape.h = 60_000_000), &["tensor 2", "shape"]);
    let unknown = |g: &mut Graph| g.steps[1].inputs[0] = TensorId(99);
    expect(refusal(|g, _| unknown(g)), &["step 1", "inputs", "no tensor 99"]);
    let early = |g: &mut Graph| g.steps[1].inputs[0] = g.steps[5].output;
    expect(refusal(|g, _| early(g)), &["step 1", "inputs", "read before it is written"]);
    let twice = |g: &mut Graph| g.steps[4].output = g.steps[3].output;
    expect(refusal(|g, _| twice(g)), &["step 4", "written twice"]);
    let twice = |g: &mut Graph| g.steps[2].name = g.steps[1].name.clone();
    expect(refusal(|g, _| twice(g)), &["step 2", "name", "twice"]);
    expect(refusal(|g, _| g.steps[2].layer = 999), &["step 2", "layer"]);
    expect(refusal(|g, _| stem(g).output.h += 9999), &["step 0", "output shape"]);
    expect(refusal(|g, _| stem(g).window.stride[0] = 0), &["step 0", "stride"]);
    expect(refusal(|g, _| stem(g).groups = 2), &["step 0", "groups"]);
    expect(refusal(|g, _| g.candidates[1].name = "output".into()), &["candidate 1", "name"]);
    expect(refusal(|g, _| g.candidates[0].steps = 0), &["candidate 0", "steps"]);
    expect(refusal(|g, _| g.candidates[0].boundary = g.input), &["candidate 0", "boundary"]);
    expect(refusal(|g, _| g.output = None), &["header", "output"]);
    expect(refusal(|g, _| g.preprocess.std[0] = 0.0), &["preprocess", "std"]);
    expect(refusal(|_, d| d[1] = d[0].clone()), &["no weights"]);
}

#[test]
fn weights_that_no_kernel_takes_are_refused() {
    let refusal = |change: fn(&mut [f32], &mut [i32], &mut [i8])| {
        refusal(|_, data| match &mut data[0] {
            StepData::Int8 { scales, bias, weights } => change(scales, bias, weights),
            other => panic!("{other:?}"),
        })
    };
    expect(refusal(|_, _, w| w[5] = -128), &["conv0", "weights[5]", "-128"]);
    expect(refusal(|s, _, _| s[1] = -0.5), &["conv0", "scales[1]", "positive"]);
    expect(refusal(|s, _, _| s[1] = f32::INFINITY), &["conv0", "scales[1]", "finite"]);
    expect(refusal(|_, b, _| b[7] = i32::MAX), &["conv0", "channel 7", "32-bit"]);
}

#[test]
fn damage_is_told_from_the_wrong_file() {
    let message = |bytes: Vec<u8>| exercise(bytes).expect_err("refused").to_string();
    assert!(message(Vec::new()).contains("not a .seam file"));
    assert!(message(b"\x7fELF and so on".to_vec()).contains("not a .seam file"));
    let mut bytes = file();
    bytes[8] = 9;
    assert!(message(bytes).contains("version 9"));
    let mut bytes = file();
    bytes[100] ^= 1;
    assert!(message(bytes).contains("checksum"));
    let mut bytes = file();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(message(bytes).contains("payload up to `after/"));
    let bytes = file();
    assert!(message(bytes[..bytes.len() - 64].to_vec()).contains("truncated"));
}
