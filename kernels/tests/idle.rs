//! Promise: a team without a job uses no CPU.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use seam_kernels::Team;

/// Nanoseconds of CPU that the team's workers have used; `None` where the kernel does not say.
fn used() -> Option<Vec<u64>> {
    let mut used = Vec::new();
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        if fs::read_to_string(task.join("comm")).ok()?.starts_with("seam-") {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            used.push(text.split_whitespace().next()?.parse().ok()?);
        }
    }
    Some(used)
}

#[test]
fn an_idle_team_uses_no_cpu() {
    let team = Team::new(4).unwrap();
    for _ in 0..3 {
        let calls = AtomicUsize::new(0);
        team.run(1000, &|_, _| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 1000);
        // On a busy machine a worker may not get far enough to park for a while.
        let idle = (0..100).any(|_| {
            let before = used();
            thread::sleep(Duration::from_millis(100));
            let after = used();
            if let Some(workers) = &before {
                assert_eq!(workers.len(), 3);
            }
            before == after
        });
        assert!(idle, "workers ran on without a job");
    }
}
