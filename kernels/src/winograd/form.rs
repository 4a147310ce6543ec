//! The matrices of F(2, 3) and F(4, 3), one dimension at a time.

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

/// F(O, 3), with I = O + 2.
pub(crate) trait Form<const O: usize, const I: usize> {
    /// An output is multiplied by this power of two, in one dimension, ...
    const SHIFTS: [u32; O];
    /// ... and by an odd number whose inverse modulo 2^32, of two dimensions, is this.
    const INVERSE: i32;
    /// The position (1, 1) of the transformed input of ones; the other positions are zero.
    const ONES: i32;

    /// `G`, scaled to whole numbers.
    fn weights(g: [i32; 3]) -> [i32; I];

    /// `Bᵀ`.
    ///
    /// # Safety
    /// The CPU has the vector's instructions.
    unsafe fn input<V: Vector>(d: [V; I]) -> [V; I];

    /// `Aᵀ`, with what the scale of `G` lacks to a common one.
    ///
    /// # Safety
    /// The CPU has the vector's instructions.
    unsafe fn output<V: Vector>(m: [V; I]) -> [V; O];
}

/// Bits that are left of a sum, from the sign down, at the worst of a tile's outputs.
pub(crate) const fn bits<F: Form<O, I>, const O: usize, const I: usize>() -> u32 {
    let (mut most, mut i) = (0, 0);
    while i < O {
        if F::SHIFTS[i] > most {
            most = F::SHIFTS[i];
        }
        i += 1;
    }
    32 - 2 * most
}

pub(crate) struct F2;

impl Form<2, 4> for F2 {
    const SHIFTS: [u32; 2] = [1, 1];
    const INVERSE: i32 = 1;
    const ONES: i32 = 4;

    fn weights([a, b, c]: [i32; 3]) -> [i32; 4] {
        [2 * a, a + b + c, a - b + c, 2 * c]
    }

    #[inline(always)]
    unsafe fn input<V: Vector>([d0, d1, d2, d3]: [V; 4]) -> [V; 4] {
        // SAFETY: the caller's.
        unsafe { [d0.sub(d2), d1.add(d2), d2.sub(d1), d1.sub(d3)] }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>([m0, m1, m2, m3]: [V; 4]) -> [V; 2] {
        // SAFETY: the caller's.
        unsafe { [m0.add(m1).add(m2), m1.sub(m2).sub(m3)] }
    }
}

pub(crate) struct F4;

impl Form<4, 6> for F4 {
    const SHIFTS: [u32; 4] = [3, 2, 1, 1];
    /// Of 3 · 3.
    const INVERSE: i32 = 954_437_177;
    const ONES: i32 = 36;

    fn weights([a, b, c]: [i32; 3]) -> [i32; 6] {
        let (outer, inner) = (a + 4 * c, 2 * b);
        [a, -(a + b + c), -(a - b + c), outer + inner, outer - inner, c]
    }

    /// Rows (4, 0, −5, 0, 1, 0), (0, −4, −4, 1, 1, 0), (0, 4, −4, −1, 1, 0), (0, −2, −1, 2, 1, 0),
    /// (0, 2, −1, −2, 1, 0), (0, 4, 0, −5, 0, 1).
    #[inline(always)]
    unsafe fn input<V: Vector>([d0, d1, d2, d3, d4, d5]: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's.
        unsafe {
            let (even, odd) = (d4.sub(d2.shl::<2>()), d3.sub(d1.shl::<2>()));
            let (near, far) = (d4.sub(d2), d3.sub(d1).shl::<1>());
            [
                d0.sub(d2).shl::<2>().add(near),
                even.add(odd),
                even.sub(odd),
                near.add(far),
                near.sub(far),
                d5.sub(d3).sub(far.shl::<1>()),
            ]
        }
    }

    /// Rows (1, 1, 1, 1, 1, 0), (0, 1, −1, 2, −2, 0), (0, 1, 1, 4, 4, 0), (0, 1, −1, 8, −8, 1),
    /// their columns multiplied by 6, 4, 4, 1, 1, 24, and then divided by 1, 2, 4, 4.
    #[inline(always)]
    unsafe fn output<V: Vector>([m0, m1, m2, m3, m4, m5]: [V; 6]) -> [V; 4] {
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
