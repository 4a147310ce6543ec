//! Non-negative least squares, by Lawson and Hanson's active set (*Solving Least Squares Problems*,
//! 1974, chapter 23).
//!
//! A time is a sum of costs, none of which can be negative. With that constraint a fit to few
//! samples stays sensible: of two features that say the same it keeps one, and an estimate never
//! falls when a step has more to do.

/// The `x ≥ 0` that minimizes `Σ (rows[i] · x − targets[i])²`.
///
/// Columns are scaled to length 1, so that units do not matter; a column that depends on those
/// already in use stays at 0.
///
/// # Panics
/// There are not as many targets as rows.
pub fn nnls<const N: usize>(rows: &[[f64; N]], targets: &[f64]) -> [f64; N] {
    assert_eq!(rows.len(), targets.len());
    let dot = |a: &dyn Fn(usize) -> f64, b: &dyn Fn(usize) -> f64| -> f64 {
        (0..rows.len()).map(|i| a(i) * b(i)).sum()
    };
    let length: [f64; N] = std::array::from_fn(|j| dot(&|i| rows[i][j], &|i| rows[i][j]).sqrt())
        .map(|l: f64| if l > 0.0 && l.is_finite() { l } else { f64::INFINITY });
    let column = |j: usize| move |i: usize| rows[i][j] / length[j];
    let gram: [[f64; N]; N] =
        std::array::from_fn(|j| std::array::from_fn(|k| dot(&column(j), &column(k))));
    let moment: [f64; N] = std::array::from_fn(|j| dot(&column(j), &|i| targets[i]));
    let scale = dot(&|i| targets[i], &|i| targets[i]).sqrt();
    let x = active_set(&gram, &moment, 1e-12 * scale);
    std::array::from_fn(|j| x[j] / length[j])
}

/// Lawson and Hanson's loop on the normal equations `gram · x = moment`.
fn active_set<const N: usize>(gram: &[[f64; N]; N], moment: &[f64; N], least: f64) -> [f64; N] {
    let mut x = [0.0; N];
    let mut used = [false; N];
    let mut dependent = [false; N];
    loop {
        // How much the residual falls with each unused coefficient.
        let gain = |j: usize| moment[j] - (0..N).map(|k| gram[j][k] * x[k]).sum::<f64>();
        let unused = (0..N).filter(|&j| !used[j] && !dependent[j] && gain(j) > least);
        let Some(next) = unused.max_by(|&a, &b| gain(a).total_cmp(&gain(b))) else { return x };
        used[next] = true;
        loop {
            let Some(free) = solve(gram, moment, &used) else {
                // The rest has been solved before: only the new column can depend on it.
                used[next] = false;
                dependent[next] = true;
                break;
            };
            let negative = |&j: &usize| used[j] && free[j] <= 0.0;
            let step = |j: usize| if x[j] > 0.0 { x[j] / (x[j] - free[j]) } else { 0.0 };
            let Some(first) = (0..N).filter(negative).min_by(|&a, &b| step(a).total_cmp(&step(b)))
            else {
                x = free;
                break;
            };
            // As far towards the free solution as all coefficients stay non-negative.
            let part = step(first);
            for j in (0..N).filter(|&j| used[j]) {
                x[j] = (x[j] + part * (free[j] - x[j])).max(0.0);
            }
            x[first] = 0.0;
            used[first] = false;
            dependent = [false; N];
            if first == next {
                // Numerically no gain after all.
                dependent[next] = true;
                break;
            }
        }
    }
}

/// Solves the normal equations in the `used` coefficients by Cholesky's factorization, the others
/// being 0; `None` where a column depends on the others.
fn solve<const N: usize>(
    gram: &[[f64; N]; N],
    moment: &[f64; N],
    used: &[bool; N],
) -> Option<[f64; N]> {
    let columns: Vec<usize> = (0..N).filter(|&j| used[j]).collect();
    let mut lower = [[0.0; N]; N];
    let mut x = [0.0; N];
    for (a, &j) in columns.iter().enumerate() {
        for (b, &k) in columns[..=a].iter().enumerate() {
            let known: f64 = columns[..b].iter().map(|&l| lower[j][l] * lower[k][l]).sum();
            let rest = gram[j][k] - known;
            if a > b {
                lower[j][k] = rest / lower[k][k];
            } else if rest > 1e-12 {
                lower[j][j] = rest.sqrt();
            } else {
                return None;
            }
        }
        let known: f64 = columns[..a].iter().map(|&l| lower[j][l] * x[l]).sum();
        x[j] = (moment[j] - known) / lower[j][j];
    }
    for (a, &j) in columns.iter().enumerate().rev() {
        let known: f64 = columns[a + 1..].iter().map(|&l| lower[l][j] * x[l]).sum();
        x[j] = (x[j] - known) / lower[j][j];
    }
    Some(x)
}
