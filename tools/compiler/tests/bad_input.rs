//! What comes from outside and is wrong is refused on one line that names the cause.

mod common;

use common::{Net, import, int, ints, quantize};
use seam_compiler::pb::tensor_shape_proto::dimension::Value;
use seam_compiler::pb::{ModelProto, StringStringEntryProto, tensor_proto::DataLocation};
use seam_compiler::{Error, Method};

fn refused(model: ModelProto) -> Error {
    let error = import(model).expect_err("refused");
    one_line(&error);
    error
}

fn one_line(error: &Error) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    text
}

fn plain() -> Net {
    Net::new(13, &[1, 3, 8, 8]).conv("x", "y", [4, 3, 3, 3], vec![])
}

#[test]
fn an_unsupported_operator_in_the_first_layer() {
    let net = Net::new(13, &[1, 3, 8, 8]).node("Elu", &["x"], "e", vec![]).conv(
        "e",
        "y",
        [4, 3, 3, 3],
        vec![],
    );
    let network = import(net.model()).expect("it is a valid network");
    let error = quantize(&network, &[], Method::MinMax).expect_err("nothing runs on the edge");
    let text = one_line(&error);
    assert!(matches!(error, Error::FirstLayer { .. }), "{text}");
    assert!(text.contains("Elu") && text.contains("n_e"), "{text}");
}

#[test]
fn an_unsupported_operator_further_on_ends_the_edge_part() {
    let net = Net::new(13, &[1, 3, 8, 8])
        .conv("x", "a", [4, 3, 3, 3], vec![])
        .conv("a", "b", [4, 4, 3, 3], vec![])
        .node("Elu", &["b"], "e", vec![])
        .conv("e", "y", [4, 4, 3, 3], vec![]);
    let network = import(net.model()).expect("valid");
    let (graph, data) = quantize(&network, &[], Method::MinMax).expect("compiles in part");
    let stop = graph.stop.as_ref().expect("a stop");
    assert_eq!((stop.node.as_str(), stop.operator.as_str()), ("n_e", "Elu"));
    let names: Vec<_> = graph.candidates.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["n_a", "n_b"]);
    assert_eq!((graph.steps.len(), data.len(), graph.output), (2, 2, None));
    seam_runtime::writer::encode(&graph, &data).expect("a valid file");
}

#[test]
fn dynamic_dimensions() {
    let dims = [1, 3, 0, 8].map(|d| match d {
        0 => Value::DimParam("height".into()),
        d => Value::DimValue(d),
    });
    let error = refused(Net::with_dims(13, &dims).conv("x", "y", [4, 3, 3, 3], vec![]).model());
    assert!(matches!(error, Error::DynamicDimension { axis: 2, .. }), "{error}");
    assert!(error.to_string().contains("height"), "{error}");
    // A symbolic batch is a batch of one.
    let dims =
        [Value::DimParam("N".into()), Value::DimValue(3), Value::DimValue(8), Value::DimValue(8)];
    import(Net::with_dims(13, &dims).conv("x", "y", [4, 3, 3, 3], vec![]).model()).expect("batch");
}

#[test]
fn missing_initializers() {
    let mut model = plain().model();
    model.graph.as_mut().expect("graph").initializer.remove(0);
    let error = refused(model);
    assert!(matches!(&error, Error::MissingInitializer { value, .. } if value == "w_y"), "{error}");
}

#[test]
fn nodes_out_of_order_and_cycles() {
    let mut model = plain().node("Relu", &["y"], "z", vec![]).model();
    let graph = model.graph.as_mut().expect("graph");
    graph.node.reverse();
    assert!(matches!(refused(model.clone()), Error::NotSorted { .. }));
    let graph = model.graph.as_mut().expect("graph");
    graph.node.reverse();
    graph.node[0].input[0] = "z".into();
    assert!(matches!(refused(model), Error::NotSorted { .. }));
    let twice = plain().node("Relu", &["y"], "y", vec![]).model();
    assert!(matches!(refused(twice), Error::WrittenTwice(_)));
}

#[test]
fn external_data() {
    let folder = tempfile::tempdir().expect("folder");
    let external = |location: &str| {
        let mut model = plain().model();
        let tensor = &mut model.graph.as_mut().expect("graph").initializer[0];
        let bytes = std::mem::take(&mut tensor.raw_data);
        tensor.data_location = Some(DataLocation::External as i32);
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", "4".into()),
            entry("length", bytes.len().to_string()),
        ];
        (model, bytes)
    };
    let (model, bytes) = external("weights.bin");
    let error = seam_compiler::import_model(model.clone(), folder.path()).expect_err("no file");
    assert!(matches!(error, Error::ExternalData { .. }));
    assert!(one_line(&error).contains("weights.bin"), "{error}");
    std::fs::write(folder.path().join("weights.bin"), [&[0; 4], &bytes[..]].concat())
        .expect("file");
    let network = seam_compiler::import_model(model.clone(), folder.path()).expect("it is there");
    assert_eq!(network.to_model(), import(plain().model()).expect("the same").to_model());
    std::fs::write(folder.path().join("weights.bin"), &bytes[..8]).expect("file");
    let error = seam_compiler::import_model(model, folder.path()).expect_err("too short");
    assert!(one_line(&error).contains("too short"), "{error}");
    for outside in ["../weights.bin", "/etc/passwd"] {
        let error = seam_compiler::import_model(external(outside).0, folder.path());
        assert!(matches!(error, Err(Error::ExternalData { .. })), "{outside}");
    }
}

#[test]
fn damaged_files() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("net.onnx");
    let missing = seam_compiler::import(&path).expect_err("no file");
    assert!(matches!(missing, Error::Read { .. }) && one_line(&missing).contains("net.onnx"));
    import(plain().model()).expect("valid").save(&path).expect("writes");
    let whole = std::fs::read(&path).expect("reads");
    seam_compiler::import(&path).expect("the whole file");
    for bytes in [&b""[..], b"not a network", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).expect("writes");
        let error = seam_compiler::import(&path).expect_err("damaged");
        one_line(&error);
    }
}

#[test]
fn initializers_that_do_not_fit_their_shape() {
    let mut model = plain().model();
    model.graph.as_mut().expect("graph").initializer[0].raw_data.pop();
    assert!(matches!(refused(model), Error::Initializer { .. }));
    let mut model = plain().model();
    model.graph.as_mut().expect("graph").initializer[0].dims = vec![1 << 40, 1 << 40];
    assert!(matches!(refused(model), Error::TooLarge { .. }));
    let mut model = plain().model();
    model.graph.as_mut().expect("graph").initializer[0].dims[0] = -4;
    assert!(matches!(refused(model), Error::Initializer { .. }));
    let mut model = plain().model();
    model.graph.as_mut().expect("graph").initializer[0].raw_data[..4]
        .copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(refused(model), Error::NotFiniteConstant { .. }));
}

#[test]
fn shapes_beyond_reason() {
    let net = Net::new(13, &[1, 3, 1 << 20, 1 << 20]).conv("x", "y", [4, 3, 3, 3], vec![]);
    assert!(matches!(refused(net.model()), Error::TooLarge { .. }));
    let pads = vec![ints("pads", &[1 << 40, 0, 0, 0])];
    let net = Net::new(13, &[1, 3, 8, 8]).conv("x", "y", [4, 3, 3, 3], pads);
    assert!(matches!(refused(net.model()), Error::Node { .. }));
    let strides = vec![ints("strides", &[0, 1])];
    let net = Net::new(13, &[1, 3, 8, 8]).conv("x", "y", [4, 3, 3, 3], strides);
    assert!(matches!(refused(net.model()), Error::Node { .. }));
    let net = Net::new(13, &[1, 3, 2, 2]).conv("x", "y", [4, 3, 3, 3], vec![]);
    assert!(matches!(refused(net.model()), Error::Node { .. }));
    let net = Net::new(13, &[1, 3, 8, 8]).conv("x", "y", [4, 2, 3, 3], vec![]);
    assert!(matches!(refused(net.model()), Error::Node { .. }));
    let net = plain().node("Flatten", &["y"], "z", vec![int("axis", 9)]);
    assert!(matches!(refused(net.model()), Error::Node { .. }));
}

#[test]
fn networks_of_another_kind() {
    assert!(matches!(refused(Net { opset: 8, ..plain() }.model()), Error::Opset(8)));
    assert!(matches!(refused(Net { opset: 99, ..plain() }.model()), Error::Opset(99)));
    let mut model = plain().model();
    let graph = model.graph.as_mut().expect("graph");
    graph.output.push(graph.output[0].clone());
    assert!(matches!(refused(model), Error::NotSingle { what: "output", count: 2, .. }));
    let net = Net::new(13, &[1, 8]).random("w", &[8, 4]).node("MatMul", &["x", "w"], "y", vec![]);
    assert!(matches!(refused(net.model()), Error::InputShape { .. }));
    let net = Net::new(13, &[4, 3, 8, 8]).conv("x", "y", [4, 3, 3, 3], vec![]);
    assert!(matches!(refused(net.model()), Error::InputShape { .. }));
}

#[test]
fn accumulators_that_could_pass_32_bits_end_the_edge_part() {
    // 300 x 300 inputs of weight 1: 90,000 * 127 * 255 is beyond 2^31.
    let ones = vec![1.0; 300 * 300];
    let net = Net::new(13, &[1, 1, 302, 302])
        .conv("x", "a", [1, 1, 3, 3], vec![])
        .floats("w", &[1, 1, 300, 300], &ones)
        .node("Conv", &["a", "w"], "y", vec![]);
    let network = import(net.model()).expect("valid");
    let (graph, _) = quantize(&network, &[], Method::MinMax).expect("compiles in part");
    let stop = graph.stop.expect("a stop");
    assert_eq!(stop.node, "n_y");
    assert!(stop.reason.contains("32-bit"), "{}", stop.reason);
    assert_eq!(graph.candidates.len(), 1);
}

#[test]
fn calibration_needs_finite_inputs_of_the_right_size() {
    use seam_compiler::{Inputs, calibrate};
    let network = import(plain().model()).expect("valid");
    let with = |count: usize, at: &(dyn Fn(usize) -> Result<Vec<f32>, Error> + Sync)| {
        calibrate(&network, &Inputs { count, at }, Method::MinMax, &|_, _| {}).expect_err("refused")
    };
    assert!(matches!(with(0, &|_| Ok(vec![])), Error::NoInputs));
    assert!(matches!(with(2, &|_| Ok(vec![0.0; 7])), Error::InputLength { found: 7, .. }));
    assert!(matches!(with(1, &|_| Ok(vec![f32::NAN; 192])), Error::NotFinite { .. }));
    let unreadable = |_| {
        Err(seam_runtime::image::load(std::path::Path::new("no.jpg")).expect_err("missing").into())
    };
    assert!(one_line(&with(3, &unreadable)).contains("no.jpg"));
}

#[test]
fn layers_that_do_not_exist_are_not_kept_in_float() {
    let network = import(plain().model()).expect("valid");
    let error = quantize(&network, &["conv9"], Method::MinMax).expect_err("no such layer");
    assert!(one_line(&error).contains("n_y"), "{error}");
}
