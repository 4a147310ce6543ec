//! An edge part, ready to run.

use std::sync::Arc;

use seam_kernels::{Isa, View};

use crate::error::Result;
use crate::graph::{Point, TensorId};
use crate::memory::MemoryPlan;
use crate::model::Model;
use crate::pack::{Choice, Pack};

/// How a session runs.
#[derive(Clone)]
pub struct Options {
    /// Threads, the calling one included.
    pub threads: usize,
    /// Instruction set.
    pub isa: Isa,
    /// Where the edge part ends; `None` for the deepest point that the file holds.
    pub point: Option<Point>,
    /// Weights laid out before; without, the session lays them out when it is made.
    pub pack: Option<Arc<Pack>>,
    /// Kernels of single steps, where not the preferred ones (without a pack only).
    pub choices: Vec<Choice>,
    /// Every tensor has memory of its own, so that all can be read after a run.
    pub keep_tensors: bool,
}

/// An edge part, ready to run.
pub struct Session {
    _private: (),
}

impl Options {
    /// One thread, the instruction set that `SEAM_ISA` allows, all of the file.
    ///
    /// # Errors
    /// `SEAM_ISA` names no instruction set.
    pub fn from_env() -> Result<Options> {
        todo!()
    }
}

impl Session {
    /// Everything that runs need: kernels, their weights, memory, threads.
    pub fn new(_model: Arc<Model>, _options: Options) -> Result<Session> {
        todo!()
    }

    /// The input tensor's codes, NHWC without gaps; they stay through runs.
    pub fn input(&mut self) -> &mut [u8] {
        todo!()
    }

    /// Runs all steps of the edge part.
    pub fn run(&mut self) {
        todo!()
    }

    /// Runs the steps before `point`.
    pub fn run_to(&mut self, _point: Point) {
        todo!()
    }

    /// The same, with the nanoseconds of each step in `ns[step]`.
    pub fn run_timed(&mut self, _point: Point, _ns: &mut [u64]) {
        todo!()
    }

    /// The bytes of a tensor: f32 tensors as 4 channels of one byte per value.
    pub fn tensor(&self, _id: TensorId) -> View<'_> {
        todo!()
    }

    /// A tensor's real values, NHWC.
    pub fn dequantize(&self, _id: TensorId, _values: &mut [f32]) {
        todo!()
    }

    /// [`Session::dequantize`] of the tensor at the end of the edge part.
    pub fn output_f32(&self, _values: &mut [f32]) {
        todo!()
    }

    /// The kernel that runs `step`.
    pub fn kernel_name(&self, _step: usize) -> &'static str {
        todo!()
    }

    /// Where every tensor lies.
    pub fn memory_plan(&self) -> &MemoryPlan {
        todo!()
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        todo!()
    }

    /// Where the edge part ends.
    pub fn point(&self) -> Point {
        todo!()
    }

    /// Instruction set.
    pub fn isa(&self) -> Isa {
        todo!()
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        todo!()
    }

    /// Bytes of weights laid out when the session was made; 0 with a pack.
    pub fn packed_at_start(&self) -> usize {
        todo!()
    }
}
