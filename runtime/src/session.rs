//! An edge part, ready to run: everything that a run needs is made by [`Session::new`]; nothing
//! after it allocates.

use std::sync::Arc;
use std::time::Instant;

use aligned_vec::{AVec, ConstAlign};
use seam_kernels::quantize::dequantize_value;
use seam_kernels::{Isa, Team, View};

use crate::error::{Error, Result};
use crate::graph::{Element, Point, TensorId};
use crate::memory::{MAX_ARENA, MemoryPlan};
use crate::model::Model;
use crate::pack::{Choice, Pack};
use crate::prepare::{Context, Prepared, Resources};

/// How a session runs.
#[derive(Clone)]
pub struct Options {
    /// Threads, the calling one included; 0 counts as 1.
    pub threads: usize,
    /// Instruction set.
    pub isa: Isa,
    /// Where the edge part ends; `None` for the deepest point that the file holds.
    pub point: Option<Point>,
    /// Weights laid out before; without, the session lays them out when it is made.
    pub pack: Option<Arc<Pack>>,
    /// Kernels of single steps, where not the preferred ones. A pack has its own.
    pub choices: Vec<Choice>,
    /// No tensor takes the place of another, so that all can be read after a run.
    pub keep_tensors: bool,
}

impl Options {
    /// One thread, `isa`, all that the file holds, no pack.
    pub fn new(isa: Isa) -> Options {
        Options {
            threads: 1,
            isa,
            point: None,
            pack: None,
            choices: Vec::new(),
            keep_tensors: false,
        }
    }

    /// [`Options::new`] with the strongest instruction set that `SEAM_ISA` allows.
    ///
    /// # Errors
    /// `SEAM_ISA` names no instruction set.
    pub fn from_env() -> Result<Options> {
        Ok(Options::new(Isa::from_env()?))
    }
}

/// An edge part, ready to run.
pub struct Session {
    model: Arc<Model>,
    pack: Option<Arc<Pack>>,
    isa: Isa,
    point: Point,
    plan: MemoryPlan,
    steps: Vec<Prepared>,
    arena: AVec<u8, ConstAlign<64>>,
    scratch: AVec<u8, ConstAlign<64>>,
    team: Team,
}

impl Session {
    /// Chooses kernels, plans memory, lays out weights (or takes them from the pack) and starts
    /// the threads.
    ///
    /// # Errors
    /// The point is beyond this file's prefix, the pack or a choice does not fit, the weights are
    /// damaged, memory would pass its limit, or the system starts no more threads.
    pub fn new(model: Arc<Model>, options: Options) -> Result<Session> {
        let Options { threads, isa, point, pack, choices, keep_tensors } = options;
        let graph = model.graph();
        let point = point.unwrap_or(model.reaches());
        let count = graph.steps_before(point);
        if point > model.reaches() {
            return Err(Error::BeyondPrefix {
                point: graph.point_name(point).to_string(),
                reaches: graph.point_name(model.reaches()).to_string(),
            });
        }
        if let Some(pack) = &pack {
            pack.check(&model, isa)?;
        }
        let threads = threads.max(1);
        let team = Team::new(threads).map_err(|source| Error::Threads { threads, source })?;
        let plan = MemoryPlan::new(graph, count, keep_tensors)?;
        let cx = Context { model: &model, plan: &plan, isa, threads, pack: pack.as_deref() };
        let choice = |step| choices.iter().find(|c| c.step == step).map(|c| c.algorithm.as_str());
        let steps = (0..count)
            .map(|step| Prepared::new(&cx, step, choice(step)))
            .collect::<Result<Vec<_>>>()?;
        let scratch = steps.iter().map(|s| s.scratch).max().unwrap_or(0);
        if scratch > MAX_ARENA {
            let (bytes, limit) = (scratch as u64, MAX_ARENA as u64);
            return Err(Error::TooLarge { what: "scratch memory", bytes, limit });
        }
        let (arena, scratch) = (zeros(plan.arena_bytes), zeros(scratch));
        Ok(Session { model, pack, isa, point, plan, steps, arena, scratch, team })
    }

    /// The input tensor's codes, NHWC without gaps; runs leave them as they are.
    pub fn input(&mut self) -> &mut [u8] {
        let input = self.model.graph().input;
        let place = self.plan.placement(input).expect("the input is always placed");
        &mut self.arena[place.bytes.clone()]
    }

    /// Runs all steps of the edge part.
    pub fn run(&mut self) {
        self.run_steps(self.steps.len(), |_| {});
    }

    /// Runs the steps before `point`; its boundary can then be read.
    ///
    /// # Panics
    /// `point` is behind the end of this session's edge part.
    pub fn run_to(&mut self, point: Point) {
        self.run_steps(self.model.graph().steps_before(point), |_| {});
    }

    /// The same, and writes the nanoseconds that step `i` took to `ns[i]`.
    ///
    /// # Panics
    /// As [`Session::run_to`], or `ns` is shorter than the steps before `point`.
    pub fn run_timed(&mut self, point: Point, ns: &mut [u64]) {
        let mut start = Instant::now();
        self.run_steps(self.model.graph().steps_before(point), |step| {
            let now = Instant::now();
            ns[step] = now.duration_since(start).as_nanos() as u64;
            start = now;
        });
    }

    /// Runs `count` steps; `done` hears of each.
    fn run_steps(&mut self, count: usize, mut done: impl FnMut(usize)) {
        let resources = Resources {
            model: &self.model,
            pack: self.pack.as_deref(),
            isa: self.isa,
            team: &self.team,
        };
        for (i, step) in self.steps[..count].iter().enumerate() {
            step.run(i, &resources, &mut self.arena, &mut self.scratch);
            done(i);
        }
    }

    /// The bytes of a tensor: codes, or the little-endian bytes of f32 values, where a value
    /// counts as four channels. Holds what was last written while the tensor's life in
    /// [`Session::memory_plan`] lasts; boundaries hold until the step after their point.
    ///
    /// # Panics
    /// The edge part has no such tensor.
    pub fn tensor(&self, id: TensorId) -> View<'_> {
        let place = self.plan.placement(id).expect("a tensor of the edge part");
        View::new(&self.arena[place.bytes.clone()], place.shape, place.pixel_stride)
    }

    /// A tensor's real values, NHWC; as for [`Session::tensor`].
    ///
    /// # Panics
    /// The edge part has no such tensor, or `values` has another length.
    pub fn dequantize(&self, id: TensorId, values: &mut [f32]) {
        let (view, record) = (self.tensor(id), self.model.graph().tensor(id));
        assert_eq!(values.len(), record.shape.len());
        match record.element {
            Element::U8 { scale, zero_point } => {
                for (i, values) in values.chunks_exact_mut(record.shape.c).enumerate() {
                    for (value, &q) in values.iter_mut().zip(view.pixel(i)) {
                        *value = dequantize_value(q, scale, zero_point);
                    }
                }
            }
            Element::F32 => values.copy_from_slice(bytemuck::cast_slice(view.data())),
        }
    }

    /// [`Session::dequantize`] of the tensor at the end of the edge part.
    ///
    /// # Panics
    /// `values` has another length.
    pub fn output_f32(&self, values: &mut [f32]) {
        self.dequantize(self.model.graph().boundary(self.point), values);
    }

    /// The kernel that runs step `step`; `none` where the memory plan has left nothing to do.
    ///
    /// # Panics
    /// `step` is not below [`Session::steps`].
    pub fn kernel_name(&self, step: usize) -> &'static str {
        self.steps[step].name()
    }

    /// Steps of the edge part.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Where every tensor lies.
    pub fn memory_plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Bytes that steps share for what they need only while they run.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.len()
    }

    /// Bytes of weights that were laid out when the session was made; 0 with a pack.
    pub fn packed_at_start(&self) -> usize {
        self.steps.iter().map(|s| s.packed_here).sum()
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Where the edge part ends.
    pub fn point(&self) -> Point {
        self.point
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }
}

fn zeros(len: usize) -> AVec<u8, ConstAlign<64>> {
    let mut bytes = AVec::new(64);
    bytes.resize(len, 0);
    bytes
}

/// A session may move to another thread, though only one at a time may use it.
const _: fn() = || {
    fn send<T: Send>() {}
    send::<Session>();
};
