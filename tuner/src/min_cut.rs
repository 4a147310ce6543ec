//! Minimum cut by preflow-push (Goldberg and Tarjan, 1988) on whole numbers.
//!
//! Water stands on the vertices: what the arcs of one terminal can carry is let in, and every
//! vertex passes on what it holds to a neighbour one lower. A height is never more than the
//! distance to the other terminal; a vertex that has no lower neighbour left is lifted. Three
//! measures make that fast in practice (Cherkassky and Goldberg, 1997): vertices take turns, heights
//! are set to the true distances often, and a height that no vertex has cuts off everything above
//! it. (That the highest vertex goes first, and true distances a ninth as often, took three times as
//! long on networks of 10,000 operators that read what was written shortly before.) Water that is
//! cut off stays where it is: the cut is known without it.

use std::collections::VecDeque;

/// A directed network; vertices are numbered from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlowNetwork {
    vertices: usize,
    /// Pairs of arcs, one the way back of the other.
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    tail: u32,
    head: u32,
    capacity: i64,
    back: i64,
}

impl FlowNetwork {
    /// A network of `vertices` vertices and no arc.
    pub(crate) fn new(vertices: usize) -> FlowNetwork {
        FlowNetwork { vertices, pairs: Vec::new() }
    }

    /// One more vertex; its number.
    pub(crate) fn vertex(&mut self) -> usize {
        self.vertices += 1;
        self.vertices - 1
    }

    /// An arc that carries up to `capacity` from `tail` to `head`, and up to `back` the other way;
    /// neither is negative.
    pub(crate) fn arc(&mut self, tail: usize, head: usize, capacity: i64, back: i64) {
        debug_assert!(capacity >= 0 && back >= 0);
        self.pairs.push(Pair { tail: tail as u32, head: head as u32, capacity, back });
    }

    /// Per vertex, whether it lies on the source's side of the minimum cut with the fewest vertices
    /// there. No sum of capacities may pass `i64`, counting those of the sink's arcs and any one
    /// other.
    pub(crate) fn minimum_cut(&self, source: usize, sink: usize) -> Vec<bool> {
        // The fewest vertices on the source's side are those that water from the sink cannot but
        // leave there: it flows backwards.
        let mut preflow = Preflow::new(self, sink, source);
        preflow.let_in();
        preflow.measure();
        while let Some(vertex) = preflow.next_active() {
            preflow.discharge(vertex);
            if preflow.work > preflow.allowed {
                preflow.measure();
            }
        }
        preflow.measure();
        let cut_off = preflow.cut_off();
        preflow.height.iter().map(|&height| height < cut_off).collect()
    }
}

/// No vertex.
const NONE: u32 = u32::MAX;
/// What lifting a vertex costs beside looking at its arcs, counted in arcs.
const LIFT: usize = 12;

/// An arc of the network backwards.
#[derive(Clone, Copy)]
struct Arc {
    head: u32,
    /// The same arc the other way.
    twin: u32,
    /// What it can still carry.
    residual: i64,
}

struct Preflow {
    spring: usize,
    drain: usize,
    /// By the vertex that they leave.
    arcs: Vec<Arc>,
    /// The arcs of vertex `v` are `first[v]..first[v + 1]`.
    first: Vec<u32>,
    /// The first arc of a vertex that may still lead down.
    at: Vec<u32>,
    /// What has come in and not gone out.
    excess: Vec<i64>,
    height: Vec<u32>,
    /// Per height, the vertices of that height: a list through `next` and `previous`.
    level: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Vertices that hold water, the longest waiting first; some have been cut off since.
    active: VecDeque<u32>,
    /// No vertex is higher that is not cut off.
    top: usize,
    /// Arcs looked at since heights were measured.
    work: usize,
    /// Measure after that many.
    allowed: usize,
}

impl Preflow {
    fn new(network: &FlowNetwork, spring: usize, drain: usize) -> Preflow {
        let vertices = network.vertices;
        let mut first = vec![0; vertices + 1];
        for pair in &network.pairs {
            first[pair.tail as usize + 1] += 1;
            first[pair.head as usize + 1] += 1;
        }
        for v in 0..vertices {
            first[v + 1] += first[v];
        }
        let mut at = first[..vertices].to_vec();
        let mut place = |vertex: u32| {
            at[vertex as usize] += 1;
            at[vertex as usize] - 1
        };
        let nowhere = Arc { head: NONE, twin: NONE, residual: 0 };
        let mut arcs = vec![nowhere; 2 * network.pairs.len()];
        for &Pair { tail, head, capacity, back } in &network.pairs {
            let (there, here) = (place(head), place(tail));
            arcs[there as usize] = Arc { head: tail, twin: here, residual: capacity };
            arcs[here as usize] = Arc { head, twin: there, residual: back };
        }
        Preflow {
            spring,
            drain,
            at: first[..vertices].to_vec(),
            excess: vec![0; vertices],
            height: vec![0; vertices],
            level: vec![NONE; vertices + 1],
            next: vec![NONE; vertices],
            previous: vec![NONE; vertices],
            active: VecDeque::new(),
            top: 0,
            work: 0,
            allowed: (LIFT * vertices + arcs.len()) / 3,
            arcs,
            first,
        }
    }

    /// The height of what cannot reach the drain.
    fn cut_off(&self) -> u32 {
        self.height.len() as u32
    }

    /// Fills every arc that leaves the spring.
    fn let_in(&mut self) {
        for arc in self.first[self.spring]..self.first[self.spring + 1] {
            let Arc { head, twin, residual } = self.arcs[arc as usize];
            self.arcs[arc as usize].residual = 0;
            self.arcs[twin as usize].residual += residual;
            self.excess[head as usize] += residual;
        }
    }

    /// Sets every height to the distance to the drain.
    fn measure(&mut self) {
        let cut_off = self.cut_off();
        self.work = 0;
        self.height.fill(cut_off);
        self.level[..=self.top].fill(NONE);
        self.active.clear();
        self.top = 0;
        self.height[self.drain] = 0;
        let mut queue = vec![self.drain as u32];
        let mut done = 0;
        while let Some(&v) = queue.get(done) {
            done += 1;
            let height = self.height[v as usize] + 1;
            for arc in self.first[v as usize]..self.first[v as usize + 1] {
                let Arc { head, twin, .. } = self.arcs[arc as usize];
                let w = head as usize;
                let new = self.height[w] == cut_off && w != self.spring;
                if new && self.arcs[twin as usize].residual > 0 {
                    self.at[w] = self.first[w];
                    self.put(w, height);
                    queue.push(head);
                }
            }
        }
    }

    /// The vertex that has held water for longest and is not cut off.
    fn next_active(&mut self) -> Option<usize> {
        loop {
            let v = self.active.pop_front()? as usize;
            if self.height[v] < self.cut_off() {
                return Some(v);
            }
        }
    }

    /// Passes on what `v` holds to lower neighbours, or lifts it.
    fn discharge(&mut self, v: usize) {
        let height = self.height[v];
        while self.at[v] < self.first[v + 1] {
            let Arc { head, twin, residual } = self.arcs[self.at[v] as usize];
            let w = head as usize;
            if residual > 0 && self.height[w] + 1 == height {
                let passed = residual.min(self.excess[v]);
                self.arcs[self.at[v] as usize].residual -= passed;
                self.arcs[twin as usize].residual += passed;
                if self.excess[w] == 0 && w != self.drain {
                    self.activate(w);
                }
                self.excess[w] += passed;
                self.excess[v] -= passed;
                if self.excess[v] == 0 {
                    return;
                }
            }
            self.at[v] += 1;
        }
        self.lift(v);
    }

    /// Lifts `v`, which has no lower neighbour, to just above its lowest.
    fn lift(&mut self, v: usize) {
        let (old, cut_off) = (self.height[v], self.cut_off());
        self.work += LIFT + (self.first[v + 1] - self.first[v]) as usize;
        self.take(v);
        self.height[v] = cut_off;
        if self.level[old as usize] == NONE {
            return self.cut_off_above(old as usize);
        }
        let mut lowest = cut_off;
        for i in self.first[v]..self.first[v + 1] {
            let arc = self.arcs[i as usize];
            if arc.residual > 0 && self.height[arc.head as usize] + 1 < lowest {
                lowest = self.height[arc.head as usize] + 1;
                self.at[v] = i;
            }
        }
        if lowest < cut_off {
            self.put(v, lowest);
        }
    }

    /// No vertex has the height `gap`: no way down leads past it.
    fn cut_off_above(&mut self, gap: usize) {
        for height in gap + 1..=self.top {
            let mut v = std::mem::replace(&mut self.level[height], NONE);
            while v != NONE {
                self.height[v as usize] = self.cut_off();
                v = self.next[v as usize];
            }
        }
        self.top = gap;
    }

    /// Puts `v` at `height`.
    fn put(&mut self, v: usize, height: u32) {
        self.height[v] = height;
        let second = std::mem::replace(&mut self.level[height as usize], v as u32);
        (self.previous[v], self.next[v]) = (NONE, second);
        if second != NONE {
            self.previous[second as usize] = v as u32;
        }
        self.top = self.top.max(height as usize);
        if self.excess[v] > 0 {
            self.activate(v);
        }
    }

    /// Takes `v` from the list of its height.
    fn take(&mut self, v: usize) {
        let (previous, next) = (self.previous[v], self.next[v]);
        match previous {
            NONE => self.level[self.height[v] as usize] = next,
            previous => self.next[previous as usize] = next,
        }
        if next != NONE {
            self.previous[next as usize] = previous;
        }
    }

    fn activate(&mut self, v: usize) {
        self.active.push_back(v as u32);
    }
}
