//! The matrices, one dimension at a time, and what two of them make of a tile.

/// Addition, subtraction and multiplication by a power of two, lane by lane, wrapping around.
///
/// # Safety
/// Functions need no instruction that the [`super::Kernel`]'s functions were not compiled for.
pub(crate) unsafe trait Vector: Copy {
    /// # Safety
    /// The CPU has the instructions, here and below.
    unsafe fn add(self, other: Self) -> Self;
    /// # Safety
    /// See [`Vector::add`].
    unsafe fn sub(self, other: Self) -> Self;
    /// `self << N`.
    ///
    /// # Safety
    /// See [`Vector::add`].
    unsafe fn shl<const N: i32>(self) -> Self;
}

/// Most outputs of a form.
pub(crate) const MOST_OUTPUTS: usize = 4;
/// Most inputs of a form, and positions: as many.
pub(crate) const MOST_INPUTS: usize = 9;

/// F(m, 3) at a stride. Arrays have room for the largest form; the first elements count.
pub(crate) trait Form {
    const STRIDE: usize;
    const OUTPUTS: usize;
    /// Inputs, and positions.
    const INPUTS: usize = (Self::OUTPUTS - 1) * Self::STRIDE + 3;
    /// The row of `G` that each position's weights come from, ...
    const TAPS: [usize; MOST_INPUTS];
    /// ... and how many there are.
    const ROWS: usize;
    /// An output is multiplied by this power of two, ...
    const SHIFTS: [u32; MOST_OUTPUTS];
    /// ... and by this odd number.
    const ODD: u32;
    /// What has to be added at position 1 for every output to grow by one, as scaled.
    const ONE: i32;

    /// Positions of a tile, row by row.
    const POSITIONS: usize = Self::INPUTS * Self::INPUTS;
    /// Position (1, 1).
    const CENTRE: usize = Self::INPUTS + 1;
    /// Sets of transformed weights.
    const SETS: usize = Self::ROWS * Self::ROWS;
    /// Undoes the odd factor of both dimensions, modulo 2^32.
    const INVERSE: i32 = inverse(Self::ODD * Self::ODD);
    /// Bits that are left of a sum, from the sign down, at the worst of a tile's outputs.
    const BITS: u32 = 32 - 2 * most(&Self::SHIFTS);

    /// The set of transformed weights that each position of a tile is multiplied with.
    const SET_OF: [usize; MOST_INPUTS * MOST_INPUTS] = {
        let (mut sets, mut position) = ([0; MOST_INPUTS * MOST_INPUTS], 0);
        while position < Self::POSITIONS {
            let (y, x) = (position / Self::INPUTS, position % Self::INPUTS);
            sets[position] = Self::TAPS[y] * Self::ROWS + Self::TAPS[x];
            position += 1;
        }
        sets
    };

    /// `G`, scaled to whole numbers.
    fn weights(g: [i32; 3]) -> [i32; MOST_INPUTS];

    /// `Bᵀ`.
    ///
    /// # Safety
    /// The CPU has the vector's instructions.
    unsafe fn input<V: Vector>(d: [V; MOST_INPUTS]) -> [V; MOST_INPUTS];

    /// `Aᵀ`, with what the scale of `G` lacks to a common one.
    ///
    /// # Safety
    /// The CPU has the vector's instructions.
    unsafe fn output<V: Vector>(m: [V; MOST_INPUTS]) -> [V; MOST_OUTPUTS];
}

const fn most(shifts: &[u32; MOST_OUTPUTS]) -> u32 {
    let (mut most, mut i) = (0, 0);
    while i < MOST_OUTPUTS {
        if shifts[i] > most {
            most = shifts[i];
        }
        i += 1;
    }
    most
}

/// The inverse of an odd number modulo 2^32, by Newton: each turn doubles the bits that are right,
/// three at the start.
const fn inverse(odd: u32) -> i32 {
    let (mut inverse, mut turn) = (odd, 0);
    while turn < 4 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        turn += 1;
    }
    inverse as i32
}

/// F(2, 3).
pub(crate) struct F2;

impl Form for F2 {
    const STRIDE: usize = 1;
    const OUTPUTS: usize = 2;
    const TAPS: [usize; MOST_INPUTS] = [0, 1, 2, 3, 0, 0, 0, 0, 0];
    const ROWS: usize = 4;
    const SHIFTS: [u32; MOST_OUTPUTS] = [1, 1, 0, 0];
    const ODD: u32 = 1;
    const ONE: i32 = 2;

    fn weights([a, b, c]: [i32; 3]) -> [i32; MOST_INPUTS] {
        [2 * a, a + b + c, a - b + c, 2 * c, 0, 0, 0, 0, 0]
    }

    #[inline(always)]
    unsafe fn input<V: Vector>(mut d: [V; MOST_INPUTS]) -> [V; MOST_INPUTS] {
        let [d0, d1, d2, d3, ..] = d;
        // SAFETY: the caller's.
        unsafe {
            [d[0], d[1], d[2], d[3]] = [d0.sub(d2), d1.add(d2), d2.sub(d1), d1.sub(d3)];
        }
        d
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([m0, m1, m2, m3, ..]: [V; MOST_INPUTS]) -> [V; MOST_OUTPUTS] {
        // SAFETY: the caller's.
        unsafe { [m0.add(m1).add(m2), m1.sub(m2).sub(m3), m0, m0] }
    }
}

/// F(4, 3).
pub(crate) struct F4;

impl Form for F4 {
    const STRIDE: usize = 1;
    const OUTPUTS: usize = 4;
    const TAPS: [usize; MOST_INPUTS] = [0, 1, 2, 3, 4, 5, 0, 0, 0];
    const ROWS: usize = 6;
    const SHIFTS: [u32; MOST_OUTPUTS] = [3, 2, 1, 1];
    const ODD: u32 = 3;
    const ONE: i32 = 6;

    fn weights([a, b, c]: [i32; 3]) -> [i32; MOST_INPUTS] {
        let (outer, inner) = (a + 4 * c, 2 * b);
        [a, -(a + b + c), -(a - b + c), outer + inner, outer - inner, c, 0, 0, 0]
    }

    /// Rows (4, 0, −5, 0, 1, 0), (0, −4, −4, 1, 1, 0), (0, 4, −4, −1, 1, 0), (0, −2, −1, 2, 1, 0),
    /// (0, 2, −1, −2, 1, 0), (0, 4, 0, −5, 0, 1).
    #[inline(always)]
    unsafe fn input<V: Vector>(mut d: [V; MOST_INPUTS]) -> [V; MOST_INPUTS] {
        let [d0, d1, d2, d3, d4, d5, ..] = d;
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = (d4.sub(d2.shl::<2>()), d3.sub(d1.shl::<2>()));
            let (near, far) = (d4.sub(d2), d3.sub(d1).shl::<1>());
            [d[0], d[1], d[2], d[3], d[4], d[5]] = [
                d0.sub(d2).shl::<2>().add(near),
                even.add(odd),
                even.sub(odd),
                near.add(far),
                near.sub(far),
                d5.sub(d3).sub(far.shl::<1>()),
            ];
        }
        d
    }

    /// Rows (1, 1, 1, 1, 1, 0), (0, 1, −1, 2, −2, 0), (0, 1, 1, 4, 4, 0), (0, 1, −1, 8, −8, 1),
    /// their columns multiplied by 6, 4, 4, 1, 1, 24, and then divided by 1, 2, 4, 4.
    #[inline(always)]
    unsafe fn output<V: Vector>(
        [m0, m1, m2, m3, m4, m5, ..]: [V; MOST_INPUTS],
    ) -> [V; MOST_OUTPUTS] {
        // SAFETY: the caller's.
        unsafe {
            let (sum, difference) = (m1.add(m2), m1.sub(m2));
            let (outer_sum, outer_difference) = (m3.add(m4), m3.sub(m4));
            [
                // 6 m0 + 4 sum + outer sum; and below, ... + 2 outer difference + 6 m5.
                m0.add(m0.add(sum).shl::<1>()).shl::<1>().add(outer_sum),
                difference.shl::<1>().add(outer_difference),
                sum.add(outer_sum),
                difference.add(outer_difference.add(m5).add(m5.shl::<1>()).shl::<1>()),
            ]
        }
    }
}

/// F(2, 3) at stride 2: F(2, 2) of the even inputs and the outer taps, the middle tap's products
/// beside it.
pub(crate) struct S2;

impl Form for S2 {
    const STRIDE: usize = 2;
    const OUTPUTS: usize = 2;
    const TAPS: [usize; MOST_INPUTS] = [0, 1, 2, 3, 3, 0, 0, 0, 0];
    const ROWS: usize = 4;
    const SHIFTS: [u32; MOST_OUTPUTS] = [0; MOST_OUTPUTS];
    const ODD: u32 = 1;
    const ONE: i32 = 1;

    fn weights([a, b, c]: [i32; 3]) -> [i32; MOST_INPUTS] {
        [a, a + c, c, b, 0, 0, 0, 0, 0]
    }

    #[inline(always)]
    unsafe fn input<V: Vector>(mut d: [V; MOST_INPUTS]) -> [V; MOST_INPUTS] {
        let [d0, d1, d2, d3, d4, ..] = d;
        // SAFETY: the caller's.
        unsafe {
            [d[0], d[1], d[2], d[3], d[4]] = [d0.sub(d2), d2, d4.sub(d2), d1, d3];
        }
        d
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([m0, m1, m2, m3, m4, ..]: [V; MOST_INPUTS]) -> [V; MOST_OUTPUTS] {
        // SAFETY: the caller's.
        unsafe { [m0.add(m1).add(m3), m1.add(m2).add(m4), m0, m0] }
    }
}

/// F(4, 3) at stride 2: F(4, 2) of the even inputs and the outer taps, the middle tap's products
/// beside it, all of them six times as large.
pub(crate) struct S4;

impl Form for S4 {
    const STRIDE: usize = 2;
    const OUTPUTS: usize = 4;
    const TAPS: [usize; MOST_INPUTS] = [0, 1, 2, 3, 4, 5, 5, 5, 5];
    const ROWS: usize = 6;
    const SHIFTS: [u32; MOST_OUTPUTS] = [1; MOST_OUTPUTS];
    const ODD: u32 = 3;
    const ONE: i32 = 6;

    /// Rows (1, 0)/2, −(1, 1)/2, −(1, −1)/6, (1, 2)/6, (0, 1) for the outer taps.
    fn weights([a, b, c]: [i32; 3]) -> [i32; MOST_INPUTS] {
        [3 * a, -3 * (a + c), c - a, a + 2 * c, 6 * c, 6 * b, 0, 0, 0]
    }

    /// Rows (2, −1, −2, 1, 0), (0, −2, −1, 1, 0), (0, 2, −3, 1, 0), (0, −1, 0, 1, 0),
    /// (0, 2, −1, −2, 1) for the even inputs.
    #[inline(always)]
    unsafe fn input<V: Vector>([d0, d1, d2, d3, d4, d5, d6, d7, d8]: [V; 9]) -> [V; 9] {
        // SAFETY: the caller's.
        unsafe {
            let (far, near) = (d6.sub(d2), d6.sub(d4));
            let twice = d2.sub(d4).shl::<1>();
            [
                d0.sub(d4).shl::<1>().add(far),
                near.sub(d2.shl::<1>()),
                near.add(twice),
                far,
                d8.sub(d4).sub(far.shl::<1>()),
                d1,
                d3,
                d5,
                d7,
            ]
        }
    }

    /// Rows (1, 1, 1, 1, 0), (0, 1, −1, 2, 0), (0, 1, 1, 4, 0), (0, 1, −1, 8, 1), and a product of
    /// the middle tap each.
    #[inline(always)]
    unsafe fn output<V: Vector>(
        [m0, m1, m2, m3, m4, m5, m6, m7, m8]: [V; MOST_INPUTS],
    ) -> [V; MOST_OUTPUTS] {
        // SAFETY: the caller's.
        unsafe {
            let (sum, difference) = (m1.add(m2), m1.sub(m2));
            [
                m0.add(sum).add(m3.add(m5)),
                difference.add(m3.shl::<1>().add(m6)),
                sum.add(m3.shl::<2>().add(m7)),
                difference.add(m3.shl::<3>().add(m4).add(m8)),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Scalar(i32);

    // SAFETY: no instructions of a kernel's.
    unsafe impl Vector for Scalar {
        unsafe fn add(self, other: Self) -> Self {
            Scalar(self.0.wrapping_add(other.0))
        }
        unsafe fn sub(self, other: Self) -> Self {
            Scalar(self.0.wrapping_sub(other.0))
        }
        unsafe fn shl<const N: i32>(self) -> Self {
            Scalar(self.0 << N)
        }
    }

    /// Every output of every unit input and unit tap, against the definition.
    fn is_a_convolution<F: Form>() {
        for input in 0..F::INPUTS {
            for tap in 0..3 {
                let mut d = [Scalar(0); MOST_INPUTS];
                d[input] = Scalar(1);
                let mut g = [0; 3];
                g[tap] = 1;
                let weights = F::weights(g);
                // SAFETY: no instructions of a kernel's.
                let y = unsafe {
                    let mut m = F::input(d);
                    for (i, m) in m.iter_mut().enumerate() {
                        *m = Scalar(m.0 * weights[F::TAPS[i]]);
                    }
                    F::output(m)
                };
                for (i, y) in y.iter().enumerate().take(F::OUTPUTS) {
                    let one = i32::from(i * F::STRIDE + tap == input);
                    let scale = (F::ODD << F::SHIFTS[i]) as i32;
                    assert_eq!(y.0, one * scale, "input {input}, tap {tap}, output {i}");
                }
            }
        }
        let mut m = [Scalar(0); MOST_INPUTS];
        m[1] = Scalar(F::ONE);
        // SAFETY: as above.
        let y = unsafe { F::output(m) };
        for (y, shift) in y.iter().zip(F::SHIFTS).take(F::OUTPUTS) {
            assert_eq!(y.0, (F::ODD << shift) as i32);
        }
    }

    #[test]
    fn every_form_is_a_convolution() {
        is_a_convolution::<F2>();
        is_a_convolution::<F4>();
        is_a_convolution::<S2>();
        is_a_convolution::<S4>();
    }

    #[test]
    fn inverses_are_inverses() {
        for odd in [1u32, 3, 9, 15, 0xffff_ffff] {
            assert_eq!(odd.wrapping_mul(inverse(odd) as u32), 1);
        }
    }
}
