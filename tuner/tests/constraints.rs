//! What constraints promise: a plan says which one forbids a point, never chooses such a point, and
//! is never better for one constraint more.

use proptest::prelude::*;
use seam_tuner::constraints::{Exclusion, Pin, Side};
use seam_tuner::{Constraints, Environment, Error, Objective, Plan};

mod common;
use common::{ROWS, Row, outline, plan};

const NONE: Constraints = Constraints {
    max_memory_bytes: None,
    max_download_bytes: None,
    min_depth: None,
    pins: Vec::new(),
};

fn environment() -> Environment {
    Environment::of_uplink(256_000.0).unwrap()
}

fn pin(layer: &str, side: Side) -> Pin {
    Pin { layer: layer.into(), side }
}

fn constrained(constraints: Constraints) -> Plan {
    plan(&ROWS, environment(), Objective::Fastest, constraints).unwrap()
}

/// The points that `constraints` leave.
fn left(constraints: Constraints) -> Vec<String> {
    let plan = constrained(constraints);
    plan.points.into_iter().filter(|p| p.excluded.is_empty()).map(|p| p.name).collect()
}

#[test]
fn every_constraint_leaves_the_points_that_obey_it() {
    assert_eq!(left(NONE), ["input", "conv1", "conv2", "output"]);
    // Points need 100, 1100, 2100 and 3100 bytes of download, and 500 more of memory.
    assert_eq!(left(Constraints { max_download_bytes: Some(1100), ..NONE }), ["input", "conv1"]);
    assert_eq!(left(Constraints { max_download_bytes: Some(1099), ..NONE }), ["input"]);
    assert_eq!(left(Constraints { max_memory_bytes: Some(1600), ..NONE }), ["input", "conv1"]);
    assert_eq!(left(Constraints { max_memory_bytes: Some(1599), ..NONE }), ["input"]);
    let min_depth = Some("conv2".into());
    assert_eq!(left(Constraints { min_depth, ..NONE }), ["conv2", "output"]);
    let pins = vec![pin("conv2", Side::Edge)];
    assert_eq!(left(Constraints { pins, ..NONE }), ["conv2", "output"]);
    let pins = vec![pin("conv2", Side::Cloud)];
    assert_eq!(left(Constraints { pins, ..NONE }), ["input", "conv1"]);
    let pins = vec![pin("conv1", Side::Edge), pin("output", Side::Cloud)];
    assert_eq!(left(Constraints { pins, ..NONE }), ["conv1", "conv2"]);
}

#[test]
fn a_row_names_every_constraint_that_forbids_it() {
    let constraints = Constraints {
        max_memory_bytes: Some(2600),
        max_download_bytes: Some(3000),
        min_depth: Some("conv1".into()),
        pins: vec![pin("conv2", Side::Edge)],
    };
    let plan = constrained(constraints.clone());
    let excluded = |name: &str| plan.point(name).unwrap().excluded.clone();
    let pinned = Exclusion::Pin(pin("conv2", Side::Edge));
    let depth = Exclusion::MinDepth { point: "conv1".into() };
    assert_eq!(excluded("input"), [depth, pinned.clone()]);
    assert_eq!(excluded("conv1"), [pinned]);
    assert_eq!(excluded("conv2"), []);
    assert_eq!(
        excluded("output"),
        [
            Exclusion::MaxMemory { bytes: 3600, limit: 2600 },
            Exclusion::MaxDownload { bytes: 3100, limit: 3000 },
        ]
    );
    assert_eq!(plan.chosen, "conv2");
    assert_eq!(plan.constraints, constraints);

    let table = plan.to_string();
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("input").ends_with("excluded: before conv1, conv2 on the edge"), "{table}");
    assert!(
        row("output").ends_with("excluded: needs 3.5 KiB of memory, needs 3.0 KiB of download")
    );
    assert!(row("conv2").ends_with("best, fastest"), "{table}");
    let heads = table.lines().nth(2).unwrap();
    assert!(heads.contains("download") && heads.contains("memory"), "{table}");
    assert_eq!(
        table.lines().nth(1).unwrap(),
        "memory up to 2.5 KiB, download up to 2.9 KiB, no cut before conv1, conv2 on the edge"
    );
    assert_eq!(Plan::from_json(plan.to_json().as_bytes()).unwrap(), plan);
}

#[test]
fn constraints_that_leave_nothing_are_named() {
    let constraints =
        Constraints { max_download_bytes: Some(500), min_depth: Some("conv1".into()), ..NONE };
    for objective in Objective::ALL {
        let error = plan(&ROWS, environment(), objective, constraints.clone()).unwrap_err();
        assert!(matches!(error, Error::Constrained { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("up to 500 B") && message.contains("before conv1"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    // `input` is left, but `best` does not send it.
    let constraints = Constraints { max_download_bytes: Some(500), ..NONE };
    assert_eq!(constrained(constraints.clone()).best, None);
    let best = plan(&ROWS, environment(), Objective::Best, constraints).unwrap_err();
    assert!(matches!(best, Error::Constrained { objective: "best", .. }), "{best}");
}

#[test]
fn names_that_the_model_does_not_have_are_refused() {
    let refused =
        |constraints| plan(&ROWS, environment(), Objective::Best, constraints).unwrap_err();
    let point = refused(Constraints { min_depth: Some("conv9".into()), ..NONE });
    assert!(matches!(point, Error::NoSuchPoint { .. }), "{point}");
    assert!(point.to_string().contains("conv9") && point.to_string().contains("conv2"), "{point}");
    let layer = refused(Constraints { pins: vec![pin("conv9", Side::Edge)], ..NONE });
    assert!(matches!(layer, Error::NoSuchLayer { .. }), "{layer}");
    assert!(layer.to_string().contains("conv9"), "{layer}");
}

#[test]
fn a_pin_is_a_layer_and_a_side() {
    let parsed = |word: &str| word.parse::<Pin>().unwrap();
    assert_eq!(parsed("conv1"), pin("conv1", Side::Edge));
    assert_eq!(parsed("conv1=edge"), pin("conv1", Side::Edge));
    assert_eq!(parsed("a=b/c=cloud"), pin("a=b/c", Side::Cloud));
    assert_eq!(parsed("a=b"), pin("a=b", Side::Edge), "ONNX allows it");
    for word in ["", "=cloud", "=edge"] {
        assert!(matches!(word.parse::<Pin>(), Err(Error::Pin(_))), "{word:?}");
    }
}

const NAMES: [&str; 8] = ["input", "c1", "c2", "c3", "c4", "c5", "c6", "output"];

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (1..2_000_000u64, 0..3000u32, 0..500u32);
    prop::collection::vec(row, 8).prop_map(|rows| {
        let row = |(&name, (bytes, edge, tail)): (&&'static str, (u64, u32, u32))| match name {
            "input" => (name, bytes, 0.0, f64::from(tail)),
            "output" => (name, 0, f64::from(edge), 0.0),
            _ => (name, bytes, f64::from(edge), f64::from(tail)),
        };
        NAMES.iter().zip(rows).map(row).collect()
    })
}

/// One constraint or none of each kind.
fn any_constraints() -> impl Strategy<Value = Constraints> {
    let layer = prop::sample::select(&NAMES[1..]);
    let side = prop_oneof![Just(Side::Edge), Just(Side::Cloud)];
    let pins = prop::collection::vec((layer, side), 0..2);
    (
        prop::option::of(600..8000u64),
        prop::option::of(100..8000u64),
        prop::option::of(prop::sample::select(&NAMES[..])),
        pins,
    )
        .prop_map(|(max_memory_bytes, max_download_bytes, min_depth, pins)| Constraints {
            max_memory_bytes,
            max_download_bytes,
            min_depth: min_depth.map(String::from),
            pins: pins.into_iter().map(|(layer, side)| pin(layer, side)).collect(),
        })
}

/// `a`, tightened by `b`.
fn both(a: &Constraints, b: &Constraints) -> Constraints {
    let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
    let depth = |name: &String| NAMES.iter().position(|n| n == name);
    Constraints {
        max_memory_bytes: least(a.max_memory_bytes, b.max_memory_bytes),
        max_download_bytes: least(a.max_download_bytes, b.max_download_bytes),
        min_depth: a.min_depth.clone().into_iter().chain(b.min_depth.clone()).max_by_key(depth),
        pins: [&a.pins[..], &b.pins].concat(),
    }
}

proptest! {
    #[test]
    fn one_constraint_more_never_improves_the_objective(
        rows in any_rows(),
        few in any_constraints(),
        more in any_constraints(),
        kib_per_s in 1.0..10_000.0f64,
    ) {
        let environment = Environment::of_uplink(kib_per_s * 1024.0).unwrap();
        let outline = outline(&rows);
        for objective in Objective::ALL {
            let value = |constraints: &Constraints| {
                let plan = plan(&rows, environment, objective, constraints.clone()).ok()?;
                let chosen = plan.point(&plan.chosen)?;
                assert!(chosen.excluded.is_empty(), "{} is forbidden", chosen.name);
                Some(match objective {
                    Objective::Best | Objective::Fastest => chosen.predicted.total_ns,
                    Objective::LeastDownload => chosen.download_bytes as f64,
                    Objective::Throughput => chosen.predicted.longest_stage_ns(),
                })
            };
            let tight = both(&few, &more);
            let excluded = |c: &Constraints| -> Vec<bool> {
                c.exclusions(&outline).unwrap().iter().map(|e| !e.is_empty()).collect()
            };
            for (few, tight) in excluded(&few).into_iter().zip(excluded(&tight)) {
                prop_assert!(!few || tight, "a point came back");
            }
            if let Some(tight) = value(&tight) {
                prop_assert!(value(&few).is_some_and(|few| few <= tight));
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes(
        rows in any_rows(),
        constraints in any_constraints(),
    ) {
        let json = || {
            plan(&rows, environment(), Objective::Fastest, constraints.clone())
                .map(|plan| plan.to_json())
                .map_err(|error| error.to_string())
        };
        prop_assert_eq!(json(), json());
    }
}
