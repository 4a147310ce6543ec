//! The choice of algorithm for every convolution, by timing on the device: what
//! [`Pack::write`](seam_runtime::Pack::write) needs.
//!
//! A challenger session runs every convolution by its second algorithm, then its third, and so on;
//! its runs take turns with those of a session of the preferred algorithms, so that a change of
//! the clock meets both. Steps are compared in whole runs, with the caches that a real run has.

use std::sync::Arc;
use std::time::Instant;

use seam_kernels::conv::Algorithm;
use seam_runtime::pack::{self, Choice};
use seam_runtime::{Model, Options, Session};

use crate::Error;
use crate::measure::Effort;
use crate::profile::Times;

/// A challenger must save this part of the preferred algorithm's time: less is gone with the next
/// change of temperature.
const LEAST_GAIN: f64 = 0.03;
/// Pairs of runs at least.
const FEWEST: usize = 11;
/// Pairs of runs at most.
const MOST: usize = 101;

/// A step whose preferred algorithm was beaten.
#[derive(Clone, Debug, PartialEq)]
pub struct Won {
    /// The step and the algorithm to run it by.
    pub choice: Choice,
    /// The algorithm preferred without timing.
    pub preferred: &'static str,
    /// Time of the preferred algorithm.
    pub preferred_ns: Times,
    /// Time of the chosen one, in runs that took turns with it.
    pub ns: Times,
}

/// Times the algorithms of every convolution that `model` holds with the threads and the
/// instruction set of `options`, and returns the steps where another than the preferred one is
/// faster beyond doubt. Each further algorithm takes at most `effort.cap`. `progress` is told the
/// part of the work that is done.
///
/// # Errors
/// A session cannot be made.
pub fn choose(
    model: &Arc<Model>,
    options: &Options,
    effort: &Effort,
    mut progress: impl FnMut(f64),
) -> Result<Vec<Won>, Error> {
    let session = |choices: Vec<Choice>| -> Result<Session, Error> {
        let options = Options { pack: None, choices, ..options.clone() };
        let mut session = Session::new(model.clone(), options)?;
        fill(session.input());
        Ok(session)
    };
    let mut preferred = session(Vec::new())?;
    let algorithms: Vec<Vec<Algorithm>> =
        (0..preferred.steps()).map(|step| worth_timing(model, options, step)).collect();
    let rounds = algorithms.iter().map(Vec::len).max().unwrap_or(0).max(1) - 1;
    let mut won: Vec<Option<Won>> = vec![None; algorithms.len()];
    for round in 1..=rounds {
        let challengers: Vec<Choice> = algorithms
            .iter()
            .enumerate()
            .filter_map(|(step, of)| Some(Choice { step, algorithm: of.get(round)?.name().into() }))
            .collect();
        let mut challenger = session(challengers.clone())?;
        let part = |done: f64| (round as f64 - 1.0 + done) / rounds as f64;
        let mut told = |done: f64| progress(part(done));
        let [old, new] = take_turns([&mut preferred, &mut challenger], effort, &mut told);
        for choice in challengers {
            let step = choice.step;
            let (preferred_ns, ns) = (Times::of(&old[step]), Times::of(&new[step]));
            let better = won[step]
                .as_ref()
                .is_none_or(|w| ns.p50 / preferred_ns.p50 < w.ns.p50 / w.preferred_ns.p50);
            if better && is_real(&preferred_ns, &ns) {
                let preferred = algorithms[step][0].name();
                won[step] = Some(Won { choice, preferred, preferred_ns, ns });
            }
        }
    }
    progress(1.0);
    Ok(won.into_iter().flatten().collect())
}

/// The algorithms of `step`, the preferred one first, and the others of its instruction set: a
/// weaker one takes more instructions for the same products, and timing its kernels would take
/// longer than all the rest.
fn worth_timing(model: &Model, options: &Options, step: usize) -> Vec<Algorithm> {
    let mut algorithms = pack::algorithms(model, step, options.isa);
    if let Some(isa) = algorithms.first().map(|a| a.isa()) {
        algorithms.retain(|a| a.isa() == isa);
    }
    algorithms
}

/// The new time is shorter by more than the noise of both and by more than [`LEAST_GAIN`].
fn is_real(old: &Times, new: &Times) -> bool {
    new.ci95[1] < old.ci95[0] && new.p50 < old.p50 * (1.0 - LEAST_GAIN)
}

/// Times of every step of both sessions, whose runs take turns.
fn take_turns(
    mut sessions: [&mut Session; 2],
    effort: &Effort,
    progress: &mut dyn FnMut(f64),
) -> [Vec<Vec<u64>>; 2] {
    let steps = sessions[0].model().graph().steps.len();
    let mut ns = vec![0; steps];
    let mut times = [vec![Vec::new(); steps], vec![Vec::new(); steps]];
    for session in &mut sessions {
        for _ in 0..effort.warm_up {
            let end = session.point();
            session.run_timed(end, &mut ns);
        }
    }
    let start = Instant::now();
    for pair in 0..MOST {
        let spent = start.elapsed().as_secs_f64() / effort.cap.as_secs_f64();
        if spent >= 1.0 && pair >= FEWEST {
            break;
        }
        progress((pair as f64 / MOST as f64).max(spent).min(1.0));
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let end = session.point();
            session.run_timed(end, &mut ns);
            for (times, &ns) in times.iter_mut().zip(&ns) {
                times.push(ns);
            }
        }
    }
    times
}

/// Bytes without a pattern.
fn fill(codes: &mut [u8]) {
    let mut state = 0x9e37_79b9_u32;
    for code in codes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *code = (state >> 24) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_within_the_noise_keeps_the_preferred_algorithm() {
        let times = |p50: f64, half: f64| Times {
            min: p50 - half,
            p50,
            p90: p50 + half,
            ci95: [p50 - half, p50 + half],
            estimated: false,
        };
        assert!(is_real(&times(100.0, 1.0), &times(90.0, 1.0)));
        assert!(!is_real(&times(100.0, 6.0), &times(90.0, 6.0)), "intervals meet");
        assert!(!is_real(&times(100.0, 0.1), &times(98.0, 0.1)), "too little to matter");
        assert!(!is_real(&times(100.0, 1.0), &times(110.0, 1.0)), "slower");
        assert!(!is_real(&Times::exactly(0.0), &Times::exactly(0.0)));
    }
}
