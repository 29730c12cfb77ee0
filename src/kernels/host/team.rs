//! The CPU device's threads: a team that a launch's tasks are shared out to.
//!
//! A training step of a small model is some sixty launches of ten to a few hundred microseconds.
//! Waking a sleeping thread takes as long as the shorter ones, so the members of a team do not sleep
//! between launches: they spin for a while and only then lie down. The calling thread is a member
//! itself; a launch of one task never leaves it.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a member spins for the next job: longer than the pauses within a training step.
const PATIENCE: Duration = Duration::from_micros(200);
/// Spins between two looks at the clock.
const SPINS: usize = 128;
/// Spins after which a thread that waits for others lets them have its core: there may be more
/// threads than cores.
const SPINS_BEFORE_YIELDING: usize = 2048;

/// Pieces that each member's share of a job is taken in, where there are enough tasks: so many that
/// all end at about the same time.
const PIECES: usize = 8;

/// What a member does with the tasks that it takes: `work(member, indices)`.
type Work<'a> = dyn Fn(usize, &mut dyn Iterator<Item = usize>) + Sync + 'a;

/// Threads that wait for work together.
pub struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    /// Held while a job runs: a team does one at a time.
    busy: Mutex<()>,
}

/// One job at a time, and who is at it.
struct Shared {
    /// `job number · 2³² + members at it · 2 + whether it is open to more`.
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Of each member's share, the next task that nobody has taken.
    next: Box<[Counter]>,
    /// What a task panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Members that sleep, or are about to.
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    bell: Condvar,
    dismissed: AtomicBool,
}

/// A counter with cache lines of its own: members count in their own shares, undisturbed.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    count: usize,
    members: usize,
    /// Tasks that a member takes at a time: calls and counting should cost little beside the tasks.
    at_a_time: usize,
}

impl Job {
    /// The tasks that are a member's own.
    ///
    /// They depend on nothing else: where launch after launch cuts the same rows into tasks, a member
    /// finds in its own cache what it wrote there. A core that must fetch from another's cache what
    /// that has changed waits several times as long.
    fn share(&self, member: usize) -> Range<usize> {
        let start = |member: usize| member * self.count / self.members;
        start(member)..start(member + 1)
    }
}

// SAFETY: `job` is written only while the state says that no member is at it and it is not open
// (under `busy`), and read only by members that have entered an open job, which `share_out`
// outlasts; what its pointer points to is Sync.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

const OPEN: u64 = 1;
const MEMBER: u64 = 2;
const JOB: u64 = 1 << 32;

fn members_at_work(state: u64) -> u64 {
    state % JOB / MEMBER
}

impl Team {
    /// A team of `threads`, the calling thread among them; 0 means one per core.
    pub fn new(threads: usize) -> std::io::Result<Team> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            _ => threads,
        };
        let mut team = Team {
            shared: Arc::new(Shared {
                state: AtomicU64::new(0),
                job: UnsafeCell::new(None),
                next: (0..threads).map(|_| Counter::default()).collect(),
                panic: Mutex::new(None),
                sleeping: AtomicUsize::new(0),
                bed: Mutex::new(()),
                bell: Condvar::new(),
                dismissed: AtomicBool::new(false),
            }),
            members: Vec::new(),
            busy: Mutex::new(()),
        };
        for member in 1..threads {
            let shared = team.shared.clone();
            let thread = std::thread::Builder::new().name(format!("diabolo {member}"));
            // Those already started are dismissed if one fails.
            team.members
                .push(thread.spawn(move || shared.serve(member))?);
        }
        Ok(team)
    }

    /// How many there are, the calling thread included.
    pub fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// Calls `task(member, index)` once for every index below `count`, in any order, and returns when
    /// all have returned. Members are numbered from 0, the calling thread; no two tasks of one call run
    /// at a time under the same number.
    ///
    /// Where the team is at another caller's job, or a task shares out tasks itself, the calling
    /// thread does them all, as number 0. Panics if a task does.
    pub fn share_out(&self, count: usize, task: impl Fn(usize, usize) + Sync) {
        self.each_member(count, |member, indices| {
            indices.for_each(|index| task(member, index));
        });
    }

    /// As [`share_out`](Self::share_out), but `work(member, indices)` is called once for each member that
    /// has any tasks: what it prepares serves all of them. It must take every index that it is offered.
    pub fn each_member(
        &self,
        count: usize,
        work: impl Fn(usize, &mut dyn Iterator<Item = usize>) + Sync,
    ) {
        let guard = self.busy.try_lock();
        if count <= 1 || self.members.is_empty() || guard.is_err() {
            if count > 0 {
                work(0, &mut (0..count));
            }
            return;
        }
        let shared = &*self.shared;
        let work: &Work<'_> = &work;
        // SAFETY: only the lifetime changes, and no member uses the work after this function: it
        // closes the job and waits until nobody is at it, and `Shared::work` does not unwind.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        let members = self.threads();
        let job = Job {
            work,
            count,
            members,
            at_a_time: (count / (PIECES * members)).max(1),
        };
        // SAFETY: the last job is closed, nobody is at it, and `busy` is held.
        unsafe { *shared.job.get() = Some(job) };
        for (member, next) in shared.next.iter().enumerate() {
            next.0.store(job.share(member).start, Ordering::Relaxed);
        }
        let before = shared.state.load(Ordering::Relaxed);
        // In one order with `sleeping` below and in `sleep`: either the member sees the job or is seen.
        let opened = (before / JOB + 1).wrapping_mul(JOB) + OPEN;
        shared.state.store(opened, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            let _bed = shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
            shared.bell.notify_all();
        }
        shared.work(0, job);
        shared.state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut spins = 0;
        while members_at_work(shared.state.load(Ordering::Acquire)) > 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELDING {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        drop(guard);
        let panic = shared
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.dismissed.store(true, Ordering::SeqCst);
        {
            let _bed = self
                .shared
                .bed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.shared.bell.notify_all();
        }
        for member in self.members.drain(..) {
            // A member does not panic: `work` catches what tasks do.
            let _ = member.join();
        }
    }
}

impl Shared {
    /// A member's life.
    fn serve(&self, member: usize) {
        let mut last = 0;
        while let Some(state) = self.next_job(last) {
            let (entered, order) = (state + MEMBER, (Ordering::Acquire, Ordering::Relaxed));
            let entry = self
                .state
                .compare_exchange(state, entered, order.0, order.1);
            if entry.is_err() {
                // Another member came first, or the job was closed meanwhile: look again.
                continue;
            }
            last = state / JOB;
            // SAFETY: this member has entered an open job, so nobody writes it.
            let job = unsafe { *self.job.get() };
            self.work(member, job.expect("an open job"));
            self.state.fetch_sub(MEMBER, Ordering::Release);
        }
    }

    /// Waits for a job later than `last` that is open; none when the team is dismissed.
    fn next_job(&self, last: u64) -> Option<u64> {
        loop {
            let start = Instant::now();
            while start.elapsed() < PATIENCE {
                for _ in 0..SPINS {
                    let state = self.state.load(Ordering::Relaxed);
                    if state & OPEN == OPEN && state / JOB != last {
                        return Some(state);
                    }
                    std::hint::spin_loop();
                }
                if self.dismissed.load(Ordering::Relaxed) {
                    return None;
                }
            }
            self.sleep(last);
        }
    }

    /// Sleeps unless there is a job later than `last`, until the bell rings.
    fn sleep(&self, last: u64) {
        let bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let state = self.state.load(Ordering::SeqCst);
        let called =
            (state & OPEN == OPEN && state / JOB != last) || self.dismissed.load(Ordering::SeqCst);
        if !called {
            drop(self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner));
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes tasks until there are none: first a member's own, then those others have not come to.
    fn work(&self, member: usize, job: Job) {
        let share = |whose: usize| {
            let (next, end) = (&self.next[whose].0, job.share(whose).end);
            let take = move || {
                let first = next.fetch_add(job.at_a_time, Ordering::Relaxed);
                (first < end).then(|| first..end.min(first + job.at_a_time))
            };
            std::iter::from_fn(take).flatten()
        };
        let shares = (member..job.members).chain(0..member);
        let tasks = || {
            let mut indices = shares.flat_map(share).peekable();
            if indices.peek().is_some() {
                // SAFETY: the caller of `each_member` waits for this member, and the work lives so long.
                unsafe { (*job.work)(member, &mut indices) };
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(tasks)) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_no_two_under_one_number() {
        for threads in [1, 2, 3, 5] {
            let team = Team::new(threads).expect("threads");
            let at_it: Vec<AtomicBool> = (0..threads).map(|_| AtomicBool::new(false)).collect();
            for count in (0..40).chain([1000]) {
                let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                team.share_out(count, |member, index| {
                    assert!(
                        !at_it[member].swap(true, Ordering::SeqCst),
                        "{member} twice"
                    );
                    done[index].fetch_add(1, Ordering::SeqCst);
                    at_it[member].store(false, Ordering::SeqCst);
                });
                assert!(done.iter().all(|done| done.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn members_begin_with_shares_of_their_own_and_then_help_the_others() {
        let team = Team::new(3).expect("threads");
        for _ in 0..100 {
            let (arrived, strangers) = (AtomicUsize::new(0), AtomicUsize::new(0));
            team.share_out(3, |member, index| {
                strangers.fetch_add(usize::from(member != index), Ordering::SeqCst);
                arrived.fetch_add(1, Ordering::SeqCst);
                // Whoever takes one task cannot take another before all are taken.
                while arrived.load(Ordering::SeqCst) < 3 {
                    std::thread::yield_now();
                }
            });
            assert_eq!(strangers.into_inner(), 0);
            // One member is held up by its first task until all the others are done.
            let done = AtomicUsize::new(0);
            team.share_out(30, |_, index| {
                while index == 10 && done.load(Ordering::SeqCst) < 29 {
                    std::thread::yield_now();
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
    }

    #[test]
    fn members_that_went_to_sleep_come_back() {
        let team = Team::new(2).expect("threads");
        for _ in 0..20 {
            std::thread::sleep(3 * PATIENCE);
            // Each task waits for the other: both threads must take part.
            let arrived = AtomicUsize::new(0);
            team.share_out(2, |_, _| {
                arrived.fetch_add(1, Ordering::SeqCst);
                while arrived.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2).expect("threads");
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            team.share_out(10, |_, index| assert_ne!(index, 7, "seven"));
        }));
        let message = panicked.expect_err("task 7 panicked");
        let message = message.downcast_ref::<String>().expect("assert's own");
        assert!(message.contains("seven"), "{message}");
        let sum = AtomicUsize::new(0);
        team.share_out(10, |_, index| {
            sum.fetch_add(index, Ordering::SeqCst);
        });
        assert_eq!(sum.into_inner(), 45);
    }

    #[test]
    fn tasks_may_share_out_tasks_and_callers_may_meet() {
        let team = Team::new(2).expect("threads");
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        team.share_out(4, |_, _| {
                            team.share_out(3, |_, index| {
                                sum.fetch_add(index, Ordering::SeqCst);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 100 * 4 * 3);
    }
}
