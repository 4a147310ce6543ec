//! What profiles and plans promise as files: they are read back as written, and refused with one
//! line when they are of another version, of another model, or make no sense.

use seam_runtime::Codec;
use seam_tuner::profile::{CodecDecoding, CodecEncoding, ModelRef, Times};
use seam_tuner::{
    CloudProfile, CodecChoice, Constraints, Environment, Error, Objective, Plan, Profile, Request,
};
use serde_json::{Value, json};

mod common;
use common::{ROWS, cloud, edge, outline};

fn environment() -> Environment {
    Environment::new(256_000.0, 20e6, 0.0).unwrap()
}

fn plan() -> Plan {
    common::plan(&ROWS, environment(), Objective::Best, Constraints::default()).unwrap()
}

/// The plan of those two profiles.
fn planned(edge: &Profile, cloud: &CloudProfile) -> Result<Plan, Error> {
    Plan::new(&Request::new(&outline(&ROWS), edge, cloud, environment(), Objective::Best))
}

/// The edge profile of the tests with the value at `pointer` replaced (or taken away).
fn altered(pointer: &str, value: Option<Value>) -> Result<Profile, Error> {
    let mut json: Value = serde_json::from_str(&edge(&ROWS).to_json()).unwrap();
    match value {
        Some(value) => *json.pointer_mut(pointer).unwrap() = value,
        None => {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = json.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            parent.remove(field).unwrap();
        }
    }
    Profile::from_json(json.to_string().as_bytes())
}

#[test]
fn documents_are_read_back_as_written() {
    let (edge, cloud, plan) = (edge(&ROWS), cloud(&ROWS), plan());
    assert_eq!(Profile::from_json(edge.to_json().as_bytes()).unwrap(), edge);
    assert_eq!(CloudProfile::from_json(cloud.to_json().as_bytes()).unwrap(), cloud);
    assert_eq!(Plan::from_json(plan.to_json().as_bytes()).unwrap(), plan);
}

#[test]
fn the_same_inputs_give_the_same_plan_byte_for_byte() {
    assert_eq!(plan().to_json(), plan().to_json());
    let read_back = Profile::from_json(edge(&ROWS).to_json().as_bytes()).unwrap();
    assert_eq!(plan().inputs.edge_profile_sha256, read_back.sha256());
    let mut other = ROWS;
    other[1].2 += 1e-6;
    assert_ne!(plan().inputs.edge_profile_sha256, edge(&other).sha256());
}

#[test]
fn a_later_version_is_refused_by_its_name() {
    let error = altered("/schema", Some(json!("seam.profile/2"))).unwrap_err();
    assert!(matches!(error, Error::Schema { .. }));
    let message = error.to_string();
    assert!(message.contains("seam.profile/2") && message.contains("seam.profile/1"), "{message}");
    // Each document is refused where another one is meant.
    assert!(matches!(
        Profile::from_json(cloud(&ROWS).to_json().as_bytes()),
        Err(Error::Schema { .. })
    ));
    assert!(matches!(
        CloudProfile::from_json(plan().to_json().as_bytes()),
        Err(Error::Schema { .. })
    ));
    assert!(matches!(Plan::from_json(edge(&ROWS).to_json().as_bytes()), Err(Error::Schema { .. })));
}

#[test]
fn what_is_no_profile_is_refused() {
    for json in ["", "{", "[]", "null", "\u{0}", "{\"schema\": 1}"] {
        let error = Profile::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{json}: {error}");
    }
    for field in ["/model", "/model/sha256", "/total", "/points", "/points/1/edge_ns/p50"] {
        assert!(matches!(altered(field, None), Err(Error::Malformed { .. })), "{field}");
    }
}

#[test]
fn values_that_no_measurement_gives_are_refused_with_their_field() {
    let refused = |pointer: &str, value: Value, field: &str| {
        let error = altered(pointer, Some(value)).expect_err(pointer);
        let message = error.to_string();
        assert!(matches!(error, Error::Nonsense { .. }), "{pointer}: {message}");
        assert!(message.contains(field) && !message.contains('\n'), "{pointer}: {message}");
    };
    refused("/points/1/edge_ns/min", json!(-1.0), "edge_ns");
    refused("/points/1/edge_ns/p50", json!(1e300), "edge_ns");
    refused("/points/2/encode_ns/ci95/1", json!(-5), "encode_ns");
    refused("/steps/0/ns/p90", json!(0), "steps[\"step1\"].ns");
    refused("/total/p50", json!(-3), "total");
    refused("/method/reached", json!(-0.1), "method.reached");
    refused("/method/repeats", json!(0), "method.repeats");
    refused("/model/sha256", json!("abc"), "sha256");
    refused("/points/0/name", json!("conv0"), "points[0]");
    refused("/points/2/name", json!("conv1"), "points[]");
    refused("/points/0/steps", json!(1), "steps");
    refused("/points/2/steps", json!(0), "steps");
    refused("/points/3/steps", json!(99), "steps");
    refused("/points/1/frame_bytes", json!(5), "frame_bytes");
    refused("/points/1/raw_bytes", json!(0), "raw_bytes");
    refused("/points", json!([]), "points[0]");

    // NaN cannot be written in JSON, but a profile may reach a writer in memory.
    let mut cloud = cloud(&ROWS);
    cloud.points[1].tail_ns = Times::exactly(f64::NAN);
    assert!(CloudProfile::from_json(cloud.to_json().as_bytes()).is_err());
    cloud.points[1].tail_ns = Times::exactly(-1.0);
    let error = CloudProfile::from_json(cloud.to_json().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("tail_ns"), "{error}");
}

/// Both profiles with a codec behind the first layer.
fn coded() -> (Profile, CloudProfile) {
    let (mut edge, mut cloud) = (edge(&ROWS), cloud(&ROWS));
    let encode_ns = Times::exactly(2e6);
    edge.points[1].codecs = vec![CodecEncoding { codec: Codec::Sparse, bytes: 20_000, encode_ns }];
    let decode_ns = Times::exactly(1e6);
    cloud.points[1].codecs = vec![CodecDecoding { codec: Codec::Sparse, decode_ns }];
    (edge, cloud)
}

fn coded_plan(choice: CodecChoice) -> Plan {
    let (edge, cloud) = coded();
    let objective = Objective::Best;
    let outline = outline(&ROWS);
    let request = Request::new(&outline, &edge, &cloud, environment(), objective);
    Plan::new(&Request { codecs: choice, ..request }).unwrap()
}

#[test]
fn codecs_stand_in_profiles_and_plans_and_are_read_back() {
    let (edge, cloud) = coded();
    assert_eq!(Profile::from_json(edge.to_json().as_bytes()).unwrap(), edge);
    assert_eq!(CloudProfile::from_json(cloud.to_json().as_bytes()).unwrap(), cloud);
    let plan = coded_plan(CodecChoice::Auto);
    assert_eq!(Plan::from_json(plan.to_json().as_bytes()).unwrap(), plan);
    // 100 + 2 + 20,000 bytes at 256,000 a second + 20 + 1 + 6 ms beat conv2's 250 + 35.2 + 20 + 3.
    assert_eq!((plan.chosen.as_str(), plan.codec()), ("conv1", Some(Codec::Sparse)));
    let raw = plan.raw.as_ref().unwrap();
    assert_eq!(
        (raw.chosen.as_str(), raw.total_ns),
        ("conv2", coded_plan(CodecChoice::None).points[2].predicted.total_ns)
    );
    let none = coded_plan(CodecChoice::None);
    assert_eq!((none.chosen.as_str(), none.codec(), none.raw.as_ref()), ("conv2", None, None));
    let other = coded_plan(CodecChoice::Only(Codec::Zstd));
    assert_eq!((other.chosen.as_str(), other.codec()), ("conv2", None));

    let table = plan.to_string();
    let row = table.lines().find(|line| line.starts_with("conv1")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        cells[3..],
        [
            "sparse", "100.00", "2.00", "78.12", "20.00", "1.00", "6.00", "207.12", "360.38",
            "best,", "fastest"
        ]
    );
    assert!(
        table.ends_with("cut at conv1 by sparse (best); without codecs at conv2, in 308.2 ms"),
        "{table}"
    );
}

#[test]
fn a_codec_that_one_side_does_not_know_is_not_planned_with() {
    let (edge, mut cloud) = coded();
    cloud.points[1].codecs.clear();
    let plan = planned(&edge, &cloud).unwrap();
    assert_eq!((plan.chosen.as_str(), plan.codec(), plan.raw), ("conv2", None, None));
}

#[test]
fn senseless_codecs_are_refused_with_their_field() {
    let refused = |alter: &dyn Fn(&mut Profile), field: &str| {
        let (mut edge, _) = coded();
        alter(&mut edge);
        let message = Profile::from_json(edge.to_json().as_bytes()).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    };
    refused(&|edge| edge.points[1].codecs[0].bytes = 0, "codecs[\"sparse\"].bytes");
    refused(&|edge| edge.points[1].codecs[0].encode_ns.min = -1.0, "codecs[\"sparse\"].encode_ns");
    refused(
        &|edge| {
            let again = edge.points[1].codecs[0].clone();
            edge.points[1].codecs.push(again);
        },
        "codecs",
    );
    refused(
        &|edge| edge.points[3].codecs = edge.points[1].codecs.clone(),
        "points[\"output\"].codecs",
    );
    let (edge, mut cloud) = coded();
    let unknown = edge.to_json().replace("\"sparse\"", "\"brotli\"");
    let message = Profile::from_json(unknown.as_bytes()).unwrap_err().to_string();
    assert!(message.contains("brotli") && message.contains("zstd"), "{message}");
    cloud.points[1].codecs[0].decode_ns = Times::exactly(-1.0);
    let message = CloudProfile::from_json(cloud.to_json().as_bytes()).unwrap_err().to_string();
    assert!(message.contains("codecs[\"sparse\"].decode_ns"), "{message}");
}

#[test]
fn a_profile_of_another_model_is_refused() {
    let other = ModelRef::new("net", &[0x5a; 32]);
    let refused = |edge: &Profile, cloud: &CloudProfile, what: &str| {
        let message = planned(edge, cloud).unwrap_err().to_string();
        let named =
            message.contains(what) && message.contains("5a5a5a") && message.contains("a5a5a5");
        assert!(named && !message.contains('\n'), "{message}");
    };
    let mut strange = edge(&ROWS);
    strange.model = other.clone();
    refused(&strange, &cloud(&ROWS), "edge profile");
    let mut strange = cloud(&ROWS);
    strange.model = other;
    refused(&edge(&ROWS), &strange, "cloud profile");
}

#[test]
fn a_profile_without_one_of_the_points_is_refused() {
    let refused = |edge: &Profile, cloud: &CloudProfile, what: &str| {
        let error = planned(edge, cloud).unwrap_err();
        assert!(matches!(error, Error::MissingPoint { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("conv2") && message.contains(what), "{message}");
    };
    let (mut short_edge, mut short_cloud) = (edge(&ROWS), cloud(&ROWS));
    short_edge.points.remove(2);
    short_cloud.points.remove(2);
    refused(&short_edge, &cloud(&ROWS), "edge profile");
    refused(&edge(&ROWS), &short_cloud, "cloud profile");
}

#[test]
fn a_plan_that_chooses_what_it_does_not_list_is_refused() {
    for field in ["chosen", "best", "fastest"] {
        let mut json: Value = serde_json::from_str(&plan().to_json()).unwrap();
        json[field] = json!("conv9");
        let error = Plan::from_json(json.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Unlisted(_)), "{error}");
        assert!(error.to_string().contains("\"conv9\"") && error.to_string().contains("plan anew"));
    }
}

#[test]
fn the_table_is_plain_text_in_aligned_columns() {
    let table = plan().to_string();
    assert!(table.is_ascii(), "{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "net at 250.0 KiB/s uplink, 20.0 ms round trip, cloud load 0");
    let end = lines[1].find("total ms").unwrap() + "total ms".len();
    for (line, row) in lines[2..].iter().zip(ROWS) {
        assert!(line.starts_with(row.0), "{line}");
        let total = line[..end].rsplit(' ').next().unwrap();
        assert!(total.parse::<f64>().is_ok() && !line[..end].ends_with(' '), "{line}");
    }
    assert!(lines.iter().any(|line| line.starts_with("conv2") && line.ends_with("best, fastest")));
    assert_eq!(*lines.last().unwrap(), "cut at conv2 (best)");
}

#[test]
fn the_median_and_its_interval_come_from_order_statistics() {
    assert_eq!(Times::of(&[]), Times::exactly(0.0));
    assert_eq!(Times::of(&[7]), Times::exactly(7.0));
    let samples: Vec<u64> = (1..=100).rev().collect();
    let times = Times::of(&samples);
    assert_eq!((times.min, times.p50, times.p90), (1.0, 50.5, 90.0));
    // Binomial(100, 1/2) is within 40..=60 with 96.5%.
    assert_eq!(times.ci95, [40.0, 61.0]);
    assert!((times.uncertainty() - 10.5 / 50.5).abs() < 1e-12);
}
