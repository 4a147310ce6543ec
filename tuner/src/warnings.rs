//! What a plan's reader should know of the profiles behind it, a line each.

use crate::compression::CodecChoice;
use crate::profile::{CloudProfile, Method, Profile, SEAM_VERSION, Times};

/// Profiles of another version, medians that are not known well, times that are estimates.
pub fn of(edge: &Profile, cloud: &CloudProfile, codecs: CodecChoice) -> Vec<String> {
    let at_points = edge.points.iter().map(|p| (p.name.as_str(), &p.edge_ns));
    let tails = cloud.points.iter().map(|p| (p.name.as_str(), &p.tail_ns));
    let lines = [
        version("the edge profile", &edge.seam_version),
        version("the cloud profile", &cloud.seam_version),
        unmet("the edge profile", &edge.method),
        unmet("the cloud profile", &cloud.method),
        estimated("edge times", at_points, "profile the whole model on the board"),
        estimated("cloud times", tails, "run `seam profile-cloud` anew"),
        uncoded(edge).filter(|_| codecs != CodecChoice::None),
    ];
    lines.into_iter().flatten().collect()
}

/// The same of a profile that estimates were fitted to.
pub fn fitted(profile: &Profile) -> Vec<String> {
    let what = format!("the profile of {} that was fitted to", profile.model.name);
    let lines = [version(&what, &profile.seam_version), unmet(&what, &profile.method)];
    lines.into_iter().flatten().collect()
}

fn version(what: &str, found: &str) -> Option<String> {
    (found != SEAM_VERSION).then(|| {
        format!(
            "{what} was measured by Seam {found}, this is {SEAM_VERSION}, whose times \
             may differ: measure it again"
        )
    })
}

fn unmet(what: &str, method: &Method) -> Option<String> {
    let percent = |part: f64| part * 100.0;
    (!method.met).then(|| {
        format!(
            "medians of {what} are known to {:.1}% only, not the {:.1}% aimed at: \
             measure it again on a quiet machine or for longer",
            percent(method.reached),
            percent(method.target)
        )
    })
}

fn estimated<'a>(
    what: &str,
    times: impl Iterator<Item = (&'a str, &'a Times)>,
    remedy: &str,
) -> Option<String> {
    let estimates: Vec<_> = times.filter(|(_, times)| times.estimated).collect();
    let &(first, _) = estimates.first()?;
    let worst = estimates.iter().map(|(_, times)| times.uncertainty()).fold(0.0, f64::max);
    let points = match estimates.len() {
        1 => format!("at {first}"),
        n => format!("at {n} points, the first of them {first},"),
    };
    Some(format!(
        "{what} {points} are estimates, good to about {:.0}% by the model's held-out error: {remedy} \
         to measure them",
        worst * 100.0
    ))
}

/// Codecs were measured at some points, and others are estimates, which have none.
fn uncoded(edge: &Profile) -> Option<String> {
    let coded = edge.points.iter().any(|point| !point.codecs.is_empty());
    let mut raw = edge.points.iter().filter(|p| p.encode_ns.estimated && p.codecs.is_empty());
    let first = raw.next().filter(|_| coded)?;
    Some(format!(
        "boundaries from {} on are planned to cross raw, since no codec was measured there: profile \
         the whole model on the board with --images",
        first.name
    ))
}
