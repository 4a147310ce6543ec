//! The worker pool: one job at a time, cut into numbered tasks.
//!
//! [`Team::run`] allocates nothing and, while the workers are awake, makes no system call: a job is
//! published in one atomic word, tasks are claimed by compare-and-swap on it, and a worker that
//! finds nothing for `PATIENCE` parks until the next job.
//!
//! The word, `ticket`, is `generation (24 bits) | tasks (20 bits) | next (20 bits)`. A worker may
//! call the job's function only after it has claimed a task of it, and `run` returns only when
//! every task is done; so a worker that wakes up late finds `next == tasks` and touches nothing.

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a worker looks for work before it parks: longer than the steps of a session that one
/// thread runs alone, so that none of them costs a system call to wake it. A time and not a number
/// of rounds: what a round takes differs tenfold between CPUs.
const PATIENCE: Duration = Duration::from_micros(200);
/// Rounds from one look at the clock to the next.
const ROUNDS: u32 = 64;
/// Rounds of waiting for the last task before the caller starts to yield its core.
const WAIT_SPINS: u32 = 4_000;

const FIELD: u32 = 20;
const MASK: u64 = (1 << FIELD) - 1;

/// Most tasks of one ticket; a job of more is cut into several.
const MAX_TASKS: usize = MASK as usize;

type Job = dyn Fn(usize, usize) + Sync;

/// Threads that run jobs together; the calling thread is one of them.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// A job runs. One at a time, from one thread: a cell is not `Sync`.
    busy: Cell<bool>,
}

struct Worker {
    parked: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    ticket: AtomicU64,
    done: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Workers that have begun: what starting a thread allocates is behind them.
    started: AtomicUsize,
    job: UnsafeCell<Option<*const Job>>,
}

// SAFETY: `job` is written only by `Team::run`, while no task is claimable, and read only by a
// thread that holds a claimed, unfinished task, which keeps `run` from returning. The pointee is
// `Sync`, so several threads may call it.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is never used outside of `run`'s lifetime.
unsafe impl Send for Shared {}

impl Team {
    /// A team of `threads` threads, the caller included; 0 counts as 1. Returns once all of them
    /// run, so that nothing is allocated for them afterwards.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn new(threads: usize) -> std::io::Result<Team> {
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
        });
        // Built in place, so that a failure half way ends the threads already started.
        let mut team =
            Team { shared, workers: Vec::with_capacity(threads), busy: Cell::new(false) };
        for index in 1..threads {
            let parked = Arc::new(AtomicBool::new(false));
            let (shared, flag) = (team.shared.clone(), parked.clone());
            let handle = thread::Builder::new()
                .name(format!("seam-{index}"))
                .spawn(move || work(&shared, &flag, index))?;
            team.workers.push(Worker { parked, handle: Some(handle) });
        }
        while team.shared.started.load(Ordering::Acquire) < team.workers.len() {
            thread::yield_now();
        }
        Ok(team)
    }

    /// Threads of the team, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(task, thread)` once for every `task` in `0..tasks`, on all threads of the team;
    /// `thread` is below [`Team::threads`] and no two running calls share one.
    ///
    /// # Panics
    /// `job` panicked, or this was called by a job of the same team.
    pub fn run(&self, tasks: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        if self.workers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(|task| job(task, 0));
            return;
        }
        if tasks > MAX_TASKS {
            for first in (0..tasks).step_by(MAX_TASKS) {
                let count = MAX_TASKS.min(tasks - first);
                self.run(count, &|task, thread| job(first + task, thread));
            }
            return;
        }
        assert!(!self.busy.replace(true), "a job runs a job on its own team");
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. Every use of the pointer happens between a claim and
        // its count in `done`, and this function waits for all of them before it returns; `help`
        // catches panics, so it does not leave early either.
        let job =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync), *const Job>(job) };
        shared.done.store(0, Ordering::Relaxed);
        // SAFETY: the last job's tasks are all done and none of this one is claimable yet, so no
        // thread reads the cell.
        unsafe { *shared.job.get() = Some(job) };
        let generation = (shared.ticket.load(Ordering::Relaxed) >> (2 * FIELD)) + 1;
        let ticket = generation << (2 * FIELD) | (tasks as u64) << FIELD;
        // Sequentially consistent with `parked`: either the worker sees the job before it parks,
        // or we see its flag here.
        shared.ticket.store(ticket, Ordering::SeqCst);
        for worker in &self.workers {
            if worker.parked.load(Ordering::SeqCst) {
                worker.unpark();
            }
        }
        help(shared, 0);
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < tasks {
            spins += 1;
            if spins < WAIT_SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
        self.busy.set(false);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a task of the team panicked"));
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker catches its tasks' panics and has nothing else that could fail.
                let _ = handle.join();
            }
        }
    }
}

impl Worker {
    fn unpark(&self) {
        if let Some(handle) = &self.handle {
            handle.thread().unpark();
        }
    }
}

/// Claims and runs tasks of the present job until none is left.
fn help(shared: &Shared, thread: usize) {
    let mut ticket = shared.ticket.load(Ordering::Acquire);
    loop {
        let (tasks, next) = (ticket >> FIELD & MASK, ticket & MASK);
        if next >= tasks {
            return;
        }
        match shared.ticket.compare_exchange_weak(
            ticket,
            ticket + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Err(now) => ticket = now,
            Ok(_) => {
                // SAFETY: this thread holds a claimed task of the job that the cell holds (the
                // generation is part of the compared word), so `run` has not returned.
                let job = unsafe { (*shared.job.get()).map(|job| &*job) };
                let call = || job.map(|job| job(next as usize, thread));
                if catch_unwind(AssertUnwindSafe(call)).is_err() {
                    shared.panicked.store(true, Ordering::Relaxed);
                }
                shared.done.fetch_add(1, Ordering::Release);
                ticket = shared.ticket.load(Ordering::Acquire);
            }
        }
    }
}

fn has_work(shared: &Shared) -> bool {
    let ticket = shared.ticket.load(Ordering::SeqCst);
    ticket & MASK < ticket >> FIELD & MASK || shared.stop.load(Ordering::SeqCst)
}

fn work(shared: &Shared, parked: &AtomicBool, thread: usize) {
    shared.started.fetch_add(1, Ordering::Release);
    while !shared.stop.load(Ordering::Relaxed) {
        if comes(shared) {
            help(shared, thread);
        } else {
            parked.store(true, Ordering::SeqCst);
            while !has_work(shared) {
                thread::park();
            }
            parked.store(false, Ordering::SeqCst);
        }
    }
}

/// Looks for work until [`PATIENCE`] ends.
fn comes(shared: &Shared) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for _ in 0..ROUNDS {
            if has_work(shared) {
                return true;
            }
            std::hint::spin_loop();
        }
    }
    has_work(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_task_runs_once_and_no_two_share_a_thread_number() {
        for threads in [1, 2, 7] {
            let team = Team::new(threads).unwrap();
            for round in 0..200 {
                let tasks = round % 37;
                let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                let busy: Vec<AtomicBool> = (0..threads).map(|_| AtomicBool::new(false)).collect();
                team.run(tasks, &|task, thread| {
                    assert!(!busy[thread].swap(true, Ordering::SeqCst));
                    counts[task].fetch_add(1, Ordering::SeqCst);
                    busy[thread].store(false, Ordering::SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn a_job_may_have_more_tasks_than_a_ticket() {
        let team = Team::new(2).unwrap();
        let tasks = 2 * MAX_TASKS + 3;
        let (count, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        team.run(tasks, &|task, _| {
            count.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!((count.into_inner(), sum.into_inner()), (tasks, tasks * (tasks - 1) / 2));
    }

    #[test]
    fn a_parked_team_wakes_up() {
        let team = Team::new(3).unwrap();
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(30));
            let sum = AtomicUsize::new(0);
            team.run(100, &|task, _| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2).unwrap();
        let panics = catch_unwind(AssertUnwindSafe(|| {
            team.run(8, &|task, _| assert_ne!(task, 5, "expected by the test"));
        }));
        assert!(panics.is_err());
        let sum = AtomicUsize::new(0);
        team.run(4, &|task, _| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 6);
    }

    #[test]
    fn a_job_that_runs_a_job_on_its_own_team_panics() {
        thread_local! {
            static TEAM: Team = Team::new(2).unwrap();
        }
        let both = Barrier::new(2);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            TEAM.with(|team| {
                team.run(2, &|_, thread| {
                    // Each thread has a task; only the caller has the team.
                    both.wait();
                    if thread == 0 {
                        TEAM.with(|team| team.run(2, &|_, _| {}));
                    }
                });
            });
        }));
        assert!(panics.is_err());
    }
}
