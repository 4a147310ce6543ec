//! Where every tensor lies: one arena, shared by tensors that are not needed at the same time.
//!
//! First tensors are *placed together* where that saves a step's work: the inputs of a concat as
//! slices of channels of its output, both sides of a reshape, both sides of an element-wise step
//! whose input nobody reads afterwards. Steps are looked at from the last to the first, so that a
//! concat inside a concat lands in the outer one. Every such link is tried and kept only if the
//! whole group stays sound (`Links::sound`); otherwise the step does its work, a concat copies.
//!
//! Then the groups are laid into the arena greedily by size: the largest first, each at the lowest
//! offset where it meets no group that is needed at the same time.

use std::ops::Range;

use seam_kernels::Shape;

use crate::error::{Error, Result};
use crate::graph::{Graph, Op, TensorId};

/// Alignment of every group of tensors in the arena.
pub const ALIGN: usize = 64;
/// Most bytes of an arena, and of scratch memory.
pub const MAX_ARENA: usize = 1 << 30;
/// Most tensors placed together: keeps the check of a link cheap, whatever the graph.
const MAX_GROUP: usize = 256;

/// Where every tensor of an edge part lies in its arena.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of all tensors, did none share memory.
    pub unshared_bytes: usize,
    /// By [`TensorId`]; `None` for tensors that the edge part does not have.
    pub tensors: Vec<Option<Placement>>,
    /// One per step of the edge part.
    pub work: Vec<Work>,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Bytes in the arena, from the first byte of the first pixel to the last of the last; other
    /// tensors may lie between the pixels.
    pub bytes: Range<usize>,
    /// Height, width and bytes (not elements) of a pixel.
    pub shape: Shape,
    /// Bytes from one pixel to the next.
    pub pixel_stride: usize,
    /// When it holds its value: 0 is before the first step, `i + 1` is during step `i`.
    pub life: Range<usize>,
}

/// What a step has left to do, once its tensors are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Everything.
    All,
    /// Everything, over its first input, which has the output's place.
    InPlace,
    /// Copy these inputs of a concat; the others are in place.
    Copies(Vec<usize>),
    /// Nothing.
    Nothing,
}

impl MemoryPlan {
    /// Places the tensors of the first `steps` steps of a validated graph; with `keep`, none
    /// shares memory with another that still has a value of its own.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn new(graph: &Graph, steps: usize, keep: bool) -> Result<MemoryPlan> {
        let mut links = Links::new(graph, steps, keep);
        links.link_all();
        let groups = links.groups();
        let buffers: Vec<Buffer> = groups.iter().map(|group| links.buffer(group)).collect();
        let (offsets, arena_bytes) = arrange(&buffers)?;
        let mut tensors = vec![None; graph.tensors.len()];
        for (group, offset) in groups.iter().zip(offsets) {
            for (tensor, spot) in links.spots(group).into_iter().flatten() {
                let hull = spot.hull();
                tensors[tensor] = Some(Placement {
                    bytes: offset + hull.start..offset + hull.end,
                    shape: spot.shape,
                    pixel_stride: spot.stride,
                    life: links.life[tensor].clone().unwrap_or_default(),
                });
            }
        }
        let sizes = graph.tensors.iter().zip(&tensors).filter(|(_, placed)| placed.is_some());
        Ok(MemoryPlan {
            arena_bytes,
            unshared_bytes: sizes.map(|(tensor, _)| tensor.bytes()).sum(),
            tensors,
            work: links.work,
        })
    }

    /// Where `tensor` lies, if the edge part has it.
    pub fn placement(&self, tensor: TensorId) -> Option<&Placement> {
        self.tensors.get(tensor.0 as usize)?.as_ref()
    }
}

/// How a tensor lies in the one that it is linked to.
#[derive(Clone, Copy)]
enum Link {
    /// As these channels of it, from a byte of the pixel on; also in the same place.
    Channels { to: usize, first: usize },
    /// As the same bytes in another shape.
    Bytes { to: usize },
}

/// A place relative to the beginning of its group.
#[derive(Clone, Copy)]
struct Spot {
    offset: usize,
    stride: usize,
    shape: Shape,
}

impl Spot {
    fn hull(self) -> Range<usize> {
        self.offset..self.offset + self.shape.span(self.stride)
    }

    fn is_dense(self) -> bool {
        self.stride == self.shape.c || self.shape.pixels() == 1
    }

    /// Whether bytes of both coincide; may say yes where they only interleave.
    fn meets(self, other: Spot) -> bool {
        if !overlap(&self.hull(), &other.hull()) {
            return false;
        }
        // Slices of channels of one wide tensor lie between each other's pixels.
        let same_rows = self.stride == other.stride && self.shape.pixels() == other.shape.pixels();
        let column = |spot: Spot| {
            let first = spot.offset % spot.stride;
            first..first + spot.shape.c
        };
        let (a, b) = (column(self), column(other));
        !same_rows || a.end > self.stride || b.end > other.stride || overlap(&a, &b)
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

struct Links<'a> {
    graph: &'a Graph,
    links: Vec<Option<Link>>,
    /// The tensors of the group whose root is this tensor.
    members: Vec<Vec<usize>>,
    /// When a tensor is written, and one more than when it is last read.
    life: Vec<Option<Range<usize>>>,
    work: Vec<Work>,
}

impl<'a> Links<'a> {
    fn new(graph: &'a Graph, steps: usize, keep: bool) -> Links<'a> {
        let end = steps + 2;
        let mut life: Vec<Option<Range<usize>>> = vec![None; graph.tensors.len()];
        // The input stays, so that a session can run again.
        life[index(graph.input)] = Some(0..end);
        let mut work = Vec::with_capacity(steps);
        for (i, step) in graph.steps[..steps].iter().enumerate() {
            let last = i + 1 == steps;
            life[index(step.output)] = Some(i + 1..if keep || last { end } else { i + 2 });
            for &input in &step.inputs {
                last_until(&mut life, input, i + 2);
            }
            work.push(match step.op {
                Op::Concat => Work::Copies((0..step.inputs.len()).collect()),
                _ => Work::All,
            });
        }
        // A boundary is read behind its last step: as if by the step after it.
        for candidate in graph.candidates.iter().filter(|c| c.steps as usize <= steps) {
            last_until(&mut life, candidate.boundary, candidate.steps as usize + 2);
        }
        let alive = |t: usize| if life[t].is_some() { vec![t] } else { Vec::new() };
        let members = (0..graph.tensors.len()).map(alive).collect();
        Links { graph, links: vec![None; graph.tensors.len()], members, life, work }
    }

    fn link_all(&mut self) {
        for i in (0..self.work.len()).rev() {
            let step = &self.graph.steps[i];
            let y = index(step.output);
            match step.op {
                Op::Concat => {
                    let mut first = 0;
                    for (k, &input) in step.inputs.iter().enumerate() {
                        let x = &self.graph.tensors[index(input)];
                        if x.element == self.graph.tensors[y].element {
                            let kept = self.work[i].without(k);
                            self.try_link(index(input), Link::Channels { to: y, first }, i, kept);
                        }
                        first += x.shape.c;
                    }
                }
                Op::Reshape => {
                    let x = index(step.inputs[0]);
                    let _ = self.try_link(x, Link::Bytes { to: y }, i, Work::Nothing)
                        || self.try_link(y, Link::Bytes { to: x }, i, Work::Nothing);
                }
                Op::Add { .. } | Op::Table(_) => {
                    let x = index(step.inputs[0]);
                    let same = Link::Channels { to: y, first: 0 };
                    self.try_link(x, same, i, Work::InPlace);
                }
                _ => {}
            }
        }
    }

    /// Links the root `child`, changing what step `step` does to `work`, unless something would
    /// become unsound.
    fn try_link(&mut self, child: usize, link: Link, step: usize, work: Work) -> bool {
        let (Link::Channels { to, .. } | Link::Bytes { to }) = link;
        let root = self.root(to);
        let size = self.members[root].len() + self.members[child].len();
        if self.links[child].is_some()
            || root == child
            || size > MAX_GROUP
            // The caller fills the input in, without gaps.
            || child == index(self.graph.input)
        {
            return false;
        }
        self.links[child] = Some(link);
        let before = std::mem::replace(&mut self.work[step], work);
        let group = [&self.members[root][..], &self.members[child][..]].concat();
        let sound = self.sound(&group);
        if sound {
            self.members[child].clear();
            self.members[root] = group;
        } else {
            self.links[child] = None;
            self.work[step] = before;
        }
        sound
    }

    fn root(&self, mut tensor: usize) -> usize {
        while let Some(Link::Channels { to, .. } | Link::Bytes { to }) = self.links[tensor] {
            tensor = to;
        }
        tensor
    }

    /// The tensor's place in its group; `None` where a reshape would have to skip bytes.
    fn spot(&self, tensor: usize) -> Option<Spot> {
        let record = &self.graph.tensors[tensor];
        let shape = Shape { c: record.shape.c * record.element.bytes(), ..record.shape };
        match self.links[tensor] {
            None => Some(Spot { offset: 0, stride: shape.c, shape }),
            Some(Link::Channels { to, first }) => {
                let Spot { offset, stride, .. } = self.spot(to)?;
                Some(Spot { offset: offset + first, stride, shape })
            }
            Some(Link::Bytes { to }) => {
                let spot = self.spot(to)?;
                let stride = if spot.is_dense() { shape.c } else { spot.stride };
                let same_pixels = (spot.shape.c, spot.shape.pixels()) == (shape.c, shape.pixels());
                (spot.is_dense() || same_pixels).then_some(Spot { shape, stride, ..spot })
            }
        }
    }

    fn spots(&self, group: &[usize]) -> Option<Vec<(usize, Spot)>> {
        group.iter().map(|&tensor| Some((tensor, self.spot(tensor)?))).collect()
    }

    /// Whether the tensors of `group`, placed together, keep their values as long as they are
    /// needed, and whether every step of theirs can borrow what it reads and what it writes as
    /// disjoint ranges.
    fn sound(&self, group: &[usize]) -> bool {
        let Some(spots) = self.spots(group) else { return false };
        spots.iter().all(|&(written, _)| {
            let Some(time) = self.life[written].as_ref().map(|life| life.start) else {
                return false;
            };
            // The input is written by nobody.
            let Some(step) = time.checked_sub(1) else { return true };
            let record = &self.graph.steps[step];
            let in_place = self.work[step] == Work::InPlace;
            self.writes(step, &spots).into_iter().all(|(reads, place)| {
                let taken_over = |tensor: usize, spot: Spot| {
                    in_place
                        && index(record.inputs[0]) == tensor
                        && self.ends(tensor) == time + 1
                        && (spot.offset, spot.stride) == (place.offset, place.stride)
                };
                let keeps = |&(tensor, spot): &(usize, Spot)| {
                    let alive = self.life[tensor]
                        .as_ref()
                        .is_some_and(|life| life.start < time && time < life.end);
                    !alive || !spot.meets(place) || taken_over(tensor, spot)
                };
                // An operand of an in-place step may stand for the output only once.
                let borrows = |&(k, input): &(usize, TensorId)| {
                    let found = spots.iter().find(|(tensor, _)| *tensor == index(input));
                    found.is_none_or(|&(tensor, spot)| {
                        !overlap(&spot.hull(), &place.hull())
                            || (k == 0 && taken_over(tensor, spot))
                    })
                };
                spots.iter().all(keeps)
                    && reads.into_iter().map(|k| (k, record.inputs[k])).all(|read| borrows(&read))
            })
        })
    }

    /// What step `step` writes within a group: the places, each with the inputs that are read
    /// meanwhile.
    fn writes(&self, step: usize, spots: &[(usize, Spot)]) -> Vec<(Vec<usize>, Spot)> {
        let record = &self.graph.steps[step];
        let output = spots.iter().find(|(tensor, _)| *tensor == index(record.output));
        let Some(&(_, place)) = output else { return Vec::new() };
        match &self.work[step] {
            Work::Nothing => Vec::new(),
            Work::All | Work::InPlace => vec![((0..record.inputs.len()).collect(), place)],
            Work::Copies(inputs) => {
                let channels = |k: usize| self.graph.tensor(record.inputs[k]).shape.c;
                let slice = |&k: &usize| {
                    let first: usize = (0..k).map(channels).sum();
                    let shape = Shape { c: channels(k), ..place.shape };
                    (vec![k], Spot { offset: place.offset + first, shape, ..place })
                };
                inputs.iter().map(slice).collect()
            }
        }
    }

    fn ends(&self, tensor: usize) -> usize {
        self.life[tensor].as_ref().map_or(0, |life| life.end)
    }

    fn groups(&self) -> Vec<Vec<usize>> {
        self.members.iter().filter(|group| !group.is_empty()).cloned().collect()
    }

    fn buffer(&self, group: &[usize]) -> Buffer {
        let hulls = self.spots(group).into_iter().flatten().map(|(_, spot)| spot.hull().end);
        let lives = || group.iter().filter_map(|&tensor| self.life[tensor].as_ref());
        let start = lives().map(|life| life.start).min().unwrap_or(0);
        let end = lives().map(|life| life.end).max().unwrap_or(0);
        Buffer { bytes: hulls.max().unwrap_or(0), life: start..end }
    }
}

impl Work {
    /// A concat's work without copying input `k`.
    fn without(&self, k: usize) -> Work {
        match self {
            Work::Copies(inputs) => {
                Work::Copies(inputs.iter().copied().filter(|&input| input != k).collect())
            }
            other => other.clone(),
        }
    }
}

fn index(id: TensorId) -> usize {
    id.0 as usize
}

fn last_until(life: &mut [Option<Range<usize>>], tensor: TensorId, end: usize) {
    if let Some(life) = &mut life[index(tensor)] {
        life.end = life.end.max(end);
    }
}

/// A group of tensors that lie together.
#[derive(Clone, Debug)]
struct Buffer {
    bytes: usize,
    life: Range<usize>,
}

/// Offsets of all buffers, and the bytes of the arena.
fn arrange(buffers: &[Buffer]) -> Result<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), buffers[i].life.start, i));
    let mut offsets = vec![0; buffers.len()];
    let mut arena = 0usize;
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    for i in order {
        let Buffer { bytes, life } = &buffers[i];
        let size = bytes.next_multiple_of(ALIGN);
        let mut at = 0;
        // `placed` is in the order of offsets: the first gap that is wide enough is the lowest.
        for &other in placed.iter().filter(|&&other| overlap(&buffers[other].life, life)) {
            if offsets[other] >= at + size {
                break;
            }
            at = at.max(offsets[other] + buffers[other].bytes.next_multiple_of(ALIGN));
        }
        offsets[i] = at;
        arena = arena.max(at + size);
        if arena > MAX_ARENA {
            let (bytes, limit) = (arena as u64, MAX_ARENA as u64);
            return Err(Error::TooLarge { what: "the activations", bytes, limit });
        }
        let position = placed.partition_point(|&other| offsets[other] <= at);
        placed.insert(position, i);
    }
    Ok((offsets, arena))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_that_live_together_never_overlap(
            list in prop::collection::vec((1..5000usize, 0..40usize, 1..20usize), 0..60),
        ) {
            let buffer = |&(bytes, start, len): &(usize, usize, usize)| {
                Buffer { bytes, life: start..start + len }
            };
            let buffers: Vec<Buffer> = list.iter().map(buffer).collect();
            let (offsets, arena) = arrange(&buffers).unwrap();
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(offsets[i] % ALIGN == 0 && offsets[i] + a.bytes <= arena);
                for (j, b) in buffers.iter().enumerate().take(i) {
                    let (x, y) = (offsets[i]..offsets[i] + a.bytes, offsets[j]..offsets[j] + b.bytes);
                    prop_assert!(!overlap(&a.life, &b.life) || !overlap(&x, &y), "{} and {}", i, j);
                }
            }
            // No plan does with less than what lives at one time.
            let size = |b: &Buffer| b.bytes.next_multiple_of(ALIGN);
            let alive = |t: usize| -> usize {
                buffers.iter().filter(|b| b.life.contains(&t)).map(size).sum()
            };
            prop_assert!(arena >= (0..60).map(alive).max().unwrap_or(0));
            prop_assert!(arena <= buffers.iter().map(size).sum());
        }
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let chain = [300, 500, 200, 400].into_iter().enumerate();
        let buffers: Vec<Buffer> =
            chain.map(|(i, bytes)| Buffer { bytes, life: i..i + 2 }).collect();
        assert_eq!(arrange(&buffers).unwrap().1, 320 + 512);
    }

    #[test]
    fn an_arena_beyond_the_limit_is_refused() {
        let buffers = vec![Buffer { bytes: MAX_ARENA / 2, life: 0..2 }; 3];
        assert!(matches!(arrange(&buffers), Err(Error::TooLarge { .. })));
    }
}
