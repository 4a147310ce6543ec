//! Exact INT8 kernels for small CPUs.
//!
//! What goes in: NHWC `u8` activations ([`View`]), weights packed once by the kernel that will
//! read them. What comes out: NHWC `u8` activations, the same bits on every instruction set and
//! for every number of threads. [`mod@reference`] is the definition of those bits.
//!
//! | hop | file |
//! |---|---|
//! | which instruction set | [`isa`] |
//! | activations and their shapes | [`view`] |
//! | threads | [`team`] |
//! | convolution and fully connected | [`conv`] (`gemm/`, `depthwise/`, `winograd/`) |
//! | from i32 accumulators to u8 | [`requantize`] |
//! | everything else | [`pool`], [`add`], [`table`], [`lrn`], [`softmax`], [`rearrange`], [`quantize`], [`float`] |
//! | the paper's own arithmetic | [`paper`] |
//! | what the CPU could do at best | [`peak`] |

pub mod add;
pub mod conv;
mod depthwise;
pub mod fixed_point;
pub mod float;
mod gemm;
pub mod geometry;
pub mod isa;
pub mod lrn;
mod math;
pub mod paper;
pub mod peak;
pub mod pool;
pub mod quantize;
pub mod rearrange;
pub mod reference;
pub mod requantize;
pub mod softmax;
mod split;
mod stamp;
pub mod table;
pub mod team;
pub mod view;
// No kernel of aarch64 uses it yet.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod winograd;

pub use geometry::{Clamp, ConvGeometry, PoolGeometry, Window};
pub use isa::Isa;
pub use team::Team;
pub use view::{Shape, View, ViewMut};
