//! What a plan's reader should know of the profiles behind it, a line each.

use crate::profile::{CloudProfile, Method, Profile, SEAM_VERSION, Times};

/// Profiles of another version, medians that are not known well, times that are estimates.
pub(crate) fn of(edge: &Profile, cloud: &CloudProfile) -> Vec<String> {
    let at_points = edge.points.iter().map(|p| (p.name.as_str(), &p.edge_ns));
    let tails = cloud.points.iter().map(|p| (p.name.as_str(), &p.tail_ns));
    let lines = [
        version("edge", &edge.seam_version),
        version("cloud", &cloud.seam_version),
        unmet("edge", &edge.method),
        unmet("cloud", &cloud.method),
        estimated("edge times", at_points, "profile the whole model on the board"),
        estimated("cloud times", tails, "run `seam profile-cloud` anew"),
    ];
    lines.into_iter().flatten().collect()
}

fn version(side: &str, found: &str) -> Option<String> {
    (found != SEAM_VERSION).then(|| {
        format!(
            "the {side} profile was measured by Seam {found}, this is {SEAM_VERSION}, whose times \
             may differ: measure it again"
        )
    })
}

fn unmet(side: &str, method: &Method) -> Option<String> {
    let percent = |part: f64| part * 100.0;
    (!method.met).then(|| {
        format!(
            "medians of the {side} profile are known to {:.1}% only, not the {:.1}% aimed at: \
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
