//! Convolution and fully connected layers.
//!
//! [`Conv`] is made once per step; it chooses an [`Algorithm`] (a kernel with its own layout of the
//! weights), packs the weights for it, and runs it. Adding a kernel: one file, and a line in
//! `TABLE`.

use std::cmp::Reverse;
use std::fmt;

use crate::fixed_point::FixedPoint;
use crate::isa::IsaKind;
use crate::requantize::Requantize;
use crate::winograd::form::Form;
#[cfg(target_arch = "x86_64")]
use crate::winograd::form::{F2, F4, S2, S4};
use crate::{Clamp, ConvGeometry, Isa, Team, View, ViewMut, depthwise, gemm, winograd};

/// A kernel that can run a convolution, on this CPU.
#[derive(Clone, Copy)]
pub struct Algorithm(&'static Entry);

struct Entry {
    name: &'static str,
    isa: IsaKind,
    kind: Kind,
    is_exact: fn(&ConvGeometry, &[i8]) -> bool,
    packed_len: fn(&ConvGeometry) -> usize,
    pack: Pack,
    scratch_len: fn(&ConvGeometry, usize) -> usize,
    run: Run,
}

/// Geometry, input zero point, weights, biases, multipliers, packed weights.
type Pack = fn(&ConvGeometry, u8, &[i8], &[i32], &[f32], &mut [u8]);
/// Convolution, packed weights, input, output, scratch memory, team.
type Run = unsafe fn(&Conv, &[u8], View, ViewMut, &mut [u8], &Team);

/// What a kernel can run.
#[derive(Clone, Copy)]
enum Kind {
    /// Every convolution, with every output stage.
    Gemm,
    /// One output channel per input channel.
    Depthwise,
    /// 3×3 at some stride, by Winograd.
    Winograd { supports: fn(&ConvGeometry) -> bool, cost: fn(&ConvGeometry) -> u64 },
}

/// Every kernel, weakest instruction set first.
static TABLE: &[Entry] = &[
    depthwise::<depthwise::portable::Portable>(IsaKind::Portable),
    gemm::<gemm::portable::Portable>(IsaKind::Portable),
    #[cfg(target_arch = "x86_64")]
    depthwise::<depthwise::avx2::Avx2>(IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    gemm::<gemm::avx2::Avx2>(IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx2::Avx2, F2>("x86-u8i8-avx2-winograd2", IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx2::Avx2, F4>("x86-u8i8-avx2-winograd4", IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx2::Avx2, S2>("x86-u8i8-avx2-winograd2-stride2", IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx2::Avx2, S4>("x86-u8i8-avx2-winograd4-stride2", IsaKind::Avx2),
    #[cfg(target_arch = "x86_64")]
    depthwise::<depthwise::avxvnni::AvxVnni>(IsaKind::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    gemm::<gemm::avxvnni::AvxVnni>(IsaKind::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avxvnni::AvxVnni, F2>("x86-u8i8-avxvnni-winograd2", IsaKind::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avxvnni::AvxVnni, F4>("x86-u8i8-avxvnni-winograd4", IsaKind::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    depthwise::<depthwise::avx512vnni::Avx512Vnni>(IsaKind::Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    gemm::<gemm::avx512vnni::Avx512Vnni>(IsaKind::Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx512vnni::Avx512Vnni, F2>(
        "x86-u8i8-avx512vnni-winograd2",
        IsaKind::Avx512Vnni,
    ),
    #[cfg(target_arch = "x86_64")]
    winograd::<winograd::avx512vnni::Avx512Vnni, F4>(
        "x86-u8i8-avx512vnni-winograd4",
        IsaKind::Avx512Vnni,
    ),
    #[cfg(target_arch = "aarch64")]
    depthwise::<depthwise::neon::Neon>(IsaKind::Neon),
    #[cfg(target_arch = "aarch64")]
    gemm::<gemm::neon::Neon>(IsaKind::Neon),
    #[cfg(target_arch = "aarch64")]
    gemm::<gemm::dotprod::Dotprod>(IsaKind::Dotprod),
];

const fn gemm<K: gemm::Kernel>(isa: IsaKind) -> Entry {
    Entry {
        name: K::NAME,
        isa,
        kind: Kind::Gemm,
        is_exact: |_, _| true,
        packed_len: gemm::pack::packed_len::<K>,
        pack: gemm::pack::pack::<K>,
        scratch_len: gemm::driver::scratch_len::<K>,
        run: gemm::driver::run::<K>,
    }
}

const fn depthwise<K: depthwise::Kernel>(isa: IsaKind) -> Entry {
    Entry {
        name: K::NAME,
        isa,
        kind: Kind::Depthwise,
        is_exact: |_, _| true,
        packed_len: depthwise::packed_len::<K>,
        pack: depthwise::pack::<K>,
        scratch_len: depthwise::scratch_len::<K>,
        run: depthwise::run::<K>,
    }
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
const fn winograd<K: winograd::Kernel, F: Form>(name: &'static str, isa: IsaKind) -> Entry {
    Entry {
        name,
        isa,
        kind: Kind::Winograd { supports: winograd::supports::<F>, cost: winograd::cost::<F> },
        is_exact: winograd::pack::is_exact::<F>,
        packed_len: winograd::pack::packed_len::<K, F>,
        pack: winograd::pack::pack::<K, F>,
        scratch_len: winograd::driver::scratch_len::<K, F>,
        run: winograd::driver::run::<K, F>,
    }
}

impl Entry {
    /// An estimate, in pairs of i16: with a dot product of i8, direct kernels need half of them.
    fn multiplications(&self, geometry: &ConvGeometry) -> u64 {
        let dot = matches!(self.isa, IsaKind::AvxVnni | IsaKind::Avx512Vnni | IsaKind::Dotprod);
        match self.kind {
            Kind::Winograd { cost, .. } => cost(geometry),
            _ if dot => geometry.macs() / 2,
            _ => geometry.macs(),
        }
    }
}

impl Algorithm {
    /// Every kernel that this CPU can run, weakest instruction set first.
    pub fn available() -> impl Iterator<Item = Algorithm> {
        Isa::available()
            .flat_map(|isa| TABLE.iter().filter(move |e| e.isa == isa.kind()).map(Algorithm))
    }

    /// `{arch}-u8i8-{variant}`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    fn runs(self, geometry: &ConvGeometry) -> bool {
        match self.0.kind {
            Kind::Gemm => true,
            Kind::Depthwise => depthwise::supports(geometry),
            Kind::Winograd { supports, .. } => supports(geometry),
        }
    }

    /// Whether it gives the exact sums of these weights (OHWI), whatever the input: the arithmetic
    /// of Winograd kernels needs a bound that only weights can prove.
    pub fn is_exact(self, geometry: &ConvGeometry, weights: &[i8]) -> bool {
        (self.0.is_exact)(geometry, weights)
    }

    /// The instruction set that it needs.
    pub fn isa(self) -> IsaKind {
        self.0.isa
    }
}

impl PartialEq for Algorithm {
    fn eq(&self, other: &Algorithm) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Algorithm {}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What turns sums into codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    Requantize(Requantize),
    FixedPoint(FixedPoint),
}

/// An INT8 convolution (ONNX `QLinearConv`, batch 1, weight zero point 0), or a fully connected
/// layer as one over a 1×1 image.
///
/// Weights lie in −127..=127: kernels of ARMv8.0 sum two products in 16 bits, which −128 × −128
/// twice would pass.
#[derive(Clone, Debug)]
pub struct Conv {
    geometry: ConvGeometry,
    input_zero_point: u8,
    stage: Stage,
    algorithm: Algorithm,
}

impl Conv {
    /// The convolution by one of [`Conv::algorithms`] of this geometry.
    ///
    /// # Panics
    /// The geometry has an empty side, a step of 0, or groups that do not divide its channels, or
    /// `algorithm` does not run it.
    pub fn with_algorithm(
        geometry: ConvGeometry,
        input_zero_point: u8,
        clamp: Clamp,
        algorithm: Algorithm,
    ) -> Conv {
        let g = &geometry;
        let divides = |channels: usize| g.groups > 0 && channels.is_multiple_of(g.groups);
        assert!(divides(g.input.c) && divides(g.output.c), "{g:?}");
        let steps = [g.window.stride, g.window.dilation];
        assert!(steps.iter().flatten().all(|&step| step > 0), "{g:?}");
        assert!(g.weights() > 0 && !g.input.is_empty() && !g.output.is_empty(), "{g:?}");
        assert!(algorithm.runs(g), "{algorithm:?} does not run {g:?}");
        let stage = Stage::Requantize(Requantize::new(clamp));
        Conv { geometry, input_zero_point, stage, algorithm }
    }

    /// The convolution with gemmlowp's output stage, one for all channels; the multipliers given
    /// to [`Conv::pack`] then have no effect.
    ///
    /// # Panics
    /// As [`Conv::with_algorithm`].
    pub fn with_fixed_point(
        isa: Isa,
        geometry: ConvGeometry,
        input_zero_point: u8,
        stage: FixedPoint,
    ) -> Conv {
        let mut algorithms = Conv::algorithms(isa, &geometry).into_iter();
        let algorithm = algorithms.find(|a| matches!(a.0.kind, Kind::Gemm));
        let algorithm = algorithm.expect("the portable kernel runs all");
        let clamp = Clamp::none(0);
        let conv = Conv::with_algorithm(geometry, input_zero_point, clamp, algorithm);
        Conv { stage: Stage::FixedPoint(stage), ..conv }
    }

    /// The kernels that can run `geometry` with `isa`, the preferred one first.
    ///
    /// Depthwise kernels of any instruction set stand before a product of matrices that are one
    /// column wide; then come the kernels of the strongest instruction set, the one with the fewest
    /// multiplications first, and so on down to the weakest.
    pub fn algorithms(isa: Isa, geometry: &ConvGeometry) -> Vec<Algorithm> {
        let has = |e: &&Entry| e.isa <= isa.kind() && Isa::new(e.isa).is_some();
        let of_strength = TABLE.iter().rev().filter(has).map(Algorithm);
        let mut algorithms: Vec<_> = of_strength.filter(|a| a.runs(geometry)).collect();
        algorithms.sort_by_key(|a| {
            (!matches!(a.0.kind, Kind::Depthwise), Reverse(a.isa()), a.0.multiplications(geometry))
        });
        algorithms
    }

    /// Shapes, window and groups.
    pub fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    /// The kernel.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The kernel's name, `{arch}-u8i8-{variant}`.
    pub fn name(&self) -> &'static str {
        self.algorithm.name()
    }

    /// Bytes of the packed weights.
    pub fn packed_len(&self) -> usize {
        (self.algorithm.0.packed_len)(&self.geometry)
    }

    /// Lays out weights (OHWI), biases (in units of input scale × weight scale) and multipliers
    /// ([`crate::requantize::multipliers`]), one of either per output channel, for the kernel.
    ///
    /// # Panics
    /// A slice has not the length that the geometry or [`Conv::packed_len`] says, or the algorithm
    /// is not exact for the weights ([`Algorithm::is_exact`]).
    pub fn pack(&self, weights: &[i8], bias: &[i32], multipliers: &[f32], packed: &mut [u8]) {
        let g = &self.geometry;
        assert_eq!(weights.len(), g.weights());
        assert_eq!(bias.len(), g.output.c);
        assert_eq!(multipliers.len(), g.output.c);
        assert_eq!(packed.len(), self.packed_len());
        assert!(self.algorithm.is_exact(g, weights), "{} is not exact", self.name());
        (self.algorithm.0.pack)(g, self.input_zero_point, weights, bias, multipliers, packed);
    }

    /// Bytes of scratch memory that [`Conv::run`] needs with a team of `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        (self.algorithm.0.scratch_len)(&self.geometry, threads)
    }

    /// Runs the convolution. Allocates nothing; what the scratch memory holds does not matter.
    ///
    /// # Panics
    /// A view has not the geometry's shape, `packed` has not [`Conv::packed_len`] bytes or is not
    /// aligned to 64, or the scratch memory is shorter than [`Conv::scratch_len`].
    pub fn run(&self, packed: &[u8], x: View, y: ViewMut, scratch: &mut [u8], team: &Team) {
        assert_eq!(x.shape(), self.geometry.input);
        assert_eq!(y.shape(), self.geometry.output);
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(packed.as_ptr().align_offset(64), 0, "packed weights are aligned to 64 bytes");
        assert!(scratch.len() >= self.scratch_len(team.threads()));
        // SAFETY: an `Algorithm` exists only for instruction sets that an `Isa` proved present;
        // shapes and lengths were checked above.
        unsafe { (self.algorithm.0.run)(self, packed, x, y, scratch, team) }
    }

    pub(crate) fn input_zero_point(&self) -> u8 {
        self.input_zero_point
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }
}
