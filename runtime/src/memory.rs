//! Where every tensor lies.

use std::ops::Range;

use crate::graph::TensorId;

/// Where every tensor of an edge part lies in its arena.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of all tensors, did none share memory.
    pub unshared_bytes: usize,
    /// One per tensor that the edge part has.
    pub tensors: Vec<Placement>,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The tensor.
    pub tensor: TensorId,
    /// First byte in the arena.
    pub offset: usize,
    /// Bytes from one pixel to the next.
    pub pixel_stride: usize,
    /// Steps during which it is needed, from the one that writes it on.
    pub life: Range<usize>,
}
