//! Tables 1 and 2: what crosses at every point of an inception block and of a residual block, found
//! in the graphs of GoogLeNet and ResNet-18.

use seam_tuner::modes::{Place, Precision, Side, places};

use crate::nets::{self, Net};
use crate::table::Table;

/// Table 1: GoogLeNet's first inception block.
pub(crate) fn inception() -> Table {
    let title = "Table 1: points of an inception block (GoogLeNet, inception_3a)";
    table("table1", title, &nets::googlenet(), "conv2", "inception_3a_output")
}

/// Table 2: the first residual block of ResNet-18 whose shortcut carries its input as it is.
pub(crate) fn residual() -> Table {
    let title = "Table 2: points of a residual block (ResNet-18, res2b)";
    table("table2", title, &nets::resnet18(), "res2a", "res2b")
}

fn table(name: &'static str, title: &str, net: &Net, first: &str, last: &str) -> Table {
    let places = block(net, first, last);
    let mut table = Table::new(name, title, &["point", "cut", "refused by", "group", "crosses"]);
    let groups = groups(&places);
    for (i, place) in places.iter().enumerate() {
        let from = net.tensor(place.value);
        let cut = match place.reader {
            Some(reader) => format!("{from} → {}", net.nodes[reader].name),
            None => format!("behind {from}"),
        };
        let rule = match (place.brother_branch, place.inside_shortcut) {
            (false, false) => "–",
            (true, false) => "brother branch",
            (false, true) => "shortcut",
            (true, true) => "brother branch, shortcut",
        };
        let group = groups.iter().position(|(_, points)| points.contains(&(i + 1)));
        table.row([
            (i + 1).to_string(),
            cut,
            rule.into(),
            group.map_or(String::new(), |g| (g + 1).to_string()),
            modes(place),
        ]);
    }
    for (i, (modes, points)) in groups.iter().enumerate() {
        let list = points.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        table.note(format!("group {}: points {list} send {modes}", i + 1));
    }
    // One point inside of a branch as an example.
    let inside =
        |place: &Place| place.modes[0].brothers.is_some() && place.value != places[0].value;
    if let Some(i) = places.iter().position(inside) {
        for mode in &places[i].modes {
            let names = |precision| {
                let of = mode.tensors.iter().filter(move |(_, p)| *p == precision);
                of.map(|(value, _)| net.tensor(*value)).collect::<Vec<_>>().join(", ")
            };
            let side = match mode.brothers {
                Some(Side::Cloud) => "in the cloud",
                _ => "on the edge",
            };
            let (codes, reals) = (names(Precision::Int8), names(Precision::Fp32));
            let reals = if reals.is_empty() { reals } else { format!("; as FP32 {reals}") };
            table.note(format!(
                "{mode} at point {}, brothers {side}: as INT8 {codes}{reals}",
                i + 1
            ));
        }
    }
    table
}

/// The places from behind the candidate `first` to behind the candidate `last`.
pub(crate) fn block(net: &Net, first: &str, last: &str) -> Vec<Place> {
    let graph = net.layer_graph();
    let candidates = seam_tuner::candidates(&graph);
    let node = |name: &str| candidates.iter().find(|c| c.name == name).map(|c| c.node);
    match (node(first), node(last)) {
        (Some(first), Some(last)) => places(&graph, first, last),
        _ => Vec::new(),
    }
}

/// What may cross at a place: `INT8×4 or INT8×1+FP32×1`.
pub(crate) fn modes(place: &Place) -> String {
    place.modes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// The points that send the same, counted from 1.
pub(crate) fn groups(places: &[Place]) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (i, place) in places.iter().enumerate() {
        let modes = modes(place);
        match groups.iter_mut().find(|(known, _)| *known == modes) {
            Some((_, points)) => points.push(i + 1),
            None => groups.push((modes, vec![i + 1])),
        }
    }
    groups
}
