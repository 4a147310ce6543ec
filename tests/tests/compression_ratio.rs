//! Activations of trained networks cross in at most 0.6 of their INT8 bytes, at the points where
//! they would be cut, and come back bit for bit; the coder for sparse maps takes at least a tenth
//! less than either codec for bytes in general.

use std::sync::Arc;

use seam_kernels::Shape;
use seam_runtime::boundary::{Frame, describe};
use seam_runtime::graph::Element;
use seam_runtime::preprocess::codes;
use seam_runtime::{Codec, Model, Options, Session, image};
use seam_tests::{onnx, shared};

const CALIBRATION: usize = 16;
const IMAGES: usize = 8;

#[test]
fn trained_activations_cross_in_six_tenths_of_their_bytes() {
    let Some(shared) = shared::folder() else { return };
    for (name, point) in [("resnet18_layer3_coarse8", "add_29"), ("alexnet_trunk_coarse8", "conv2")]
    {
        let preprocess = shared::preprocess(&shared, name);
        let network = seam_compiler::import(&shared.join(format!("models/{name}.onnx"))).unwrap();
        let load = |set: &str, count: usize| -> Vec<Vec<u8>> {
            let pixels = |path| {
                preprocess.pixels(&image::load(path).unwrap(), network.input_shape()).unwrap()
            };
            shared::images(&shared, set, count).iter().map(|path| pixels(path)).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        let calibration = load("ilsvrc_calib_100", CALIBRATION);
        let seam = onnx::quantize(&network, &preprocess, &calibration, folder.path(), name);
        let model = Arc::new(Model::open(&seam).unwrap());
        let graph = model.graph();
        let point = model.point(point).unwrap();
        let description = describe(graph, point);
        let [_, h, w, c] = description.shape;
        let Element::U8 { scale, zero_point } = graph.tensor(graph.input).element else { panic!() };
        let tables = graph.preprocess.tables(scale, zero_point);
        let mut session = Session::new(model.clone(), Options::from_env().unwrap()).unwrap();
        let mut sent = Codec::ALL.map(|_| 0);
        for pixels in load("ilsvrc_val_700", IMAGES) {
            codes(&tables, &pixels, session.input());
            session.run_to(point);
            for (codec, sent) in Codec::ALL.into_iter().zip(&mut sent) {
                let mut frame = Frame::coded(graph, point, None, codec);
                frame.encode(&session);
                let encoded = &frame.body()[frame.header_len()..];
                *sent += encoded.len();
                let mut back = vec![0; description.bytes];
                codec.decode(Shape::new(h, w, c), encoded, &mut back).unwrap();
                assert!(back == frame.tensor(), "{codec} on {name}");
            }
        }
        let ratios = sent.map(|bytes| bytes as f64 / (IMAGES * description.bytes) as f64);
        println!("{name}: {:?} {ratios:.3?}", Codec::ALL.map(Codec::name));
        let [deflate, zstd, sparse] = ratios;
        assert!(ratios.iter().all(|&ratio| ratio <= 0.6), "{name}: {ratios:?}");
        assert!(sparse <= 0.9 * deflate.min(zstd), "{name}: {ratios:?}");
    }
}
