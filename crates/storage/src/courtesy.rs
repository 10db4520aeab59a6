//! Work that makes room for all other work.
//!
//! Owns a queue of jobs and the two threads that do them. Never knows what a job is. Invariants: each job is done once; where
//! jobs are to keep their order, one begins when the one before it has ended.
//!
//! Hazard: a nice thread keeps a core for milliseconds while the loop, which has just been woken, waits for it, and each client
//! feels that. So the first thread runs only where nothing else wants its core, and gives it up at once. Hazard: on a machine that
//! is never idle that thread gets nothing, and only root can let it come forward again. So when jobs pile up the second
//! thread, which is only nice, does them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Of a thread that makes room, and that must get on even so.
const NICE: libc::c_int = 10;

/// The second thread rests after each job, since going on it would keep the core for milliseconds.
const PAUSE: Duration = Duration::from_micros(500);

/// How jobs are done.
#[derive(Clone, Copy)]
pub struct Terms {
    /// More jobs than this that wait have piled up.
    pub late: usize,
    /// The nice thread stops when so few wait.
    pub in_time: usize,
    /// A job waits for the end of the one before it.
    pub in_order: bool,
}

struct Queue<J, R> {
    jobs: Mutex<Receiver<J>>,
    waiting: Arc<AtomicUsize>,
    run: R,
    in_order: bool,
}

impl<J, R: Fn(J)> Queue<J, R> {
    /// Does the job that `take` finds; false if it finds none.
    fn next(&self, take: impl Fn(&Receiver<J>) -> Option<J>) -> bool {
        let jobs = self.jobs.lock().expect("a panic ends the process");
        let Some(job) = take(&jobs) else {
            return false;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.in_order {
            (self.run)(job); // before the next one can be taken
        } else {
            drop(jobs);
            (self.run)(job);
        }
        true
    }
}

/// The handle. When it is dropped the threads do what waits, and end; join them to wait for that.
pub struct Courteous<J> {
    jobs: Sender<J>,
    /// Tells the nice thread that jobs have piled up.
    pile: SyncSender<()>,
    waiting: Arc<AtomicUsize>,
    late: usize,
}

impl<J: Send + 'static> Courteous<J> {
    /// Starts the threads, which are both named `name`.
    pub fn start(
        name: &str,
        terms: Terms,
        run: impl Fn(J) + Send + Sync + 'static,
    ) -> io::Result<(Self, [JoinHandle<()>; 2])> {
        let (jobs, receiver) = channel();
        let (pile, piles) = sync_channel(1);
        let waiting = Arc::new(AtomicUsize::new(0));
        let last = Arc::new(Queue {
            jobs: Mutex::new(receiver),
            waiting: waiting.clone(),
            run,
            in_order: terms.in_order,
        });
        let nice = last.clone();
        let last = Builder::new().name(name.into()).spawn(move || {
            step_back();
            while last.next(|jobs| jobs.recv().ok()) {}
        })?;
        let nice = Builder::new().name(name.into()).spawn(move || {
            be_nice();
            for () in piles {
                let is_late = || nice.waiting.load(Ordering::Relaxed) > terms.in_time;
                while is_late() && nice.next(|jobs| jobs.try_recv().ok()) {
                    std::thread::sleep(PAUSE);
                }
            }
        })?;
        let courteous = Courteous {
            jobs,
            pile,
            waiting,
            late: terms.late,
        };
        Ok((courteous, [last, nice]))
    }

    pub fn submit(&self, job: J) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        // Threads that are gone have reported why.
        let _ = self.jobs.send(job);
        if waiting > self.late {
            let _ = self.pile.try_send(()); // it may have been told already
        }
    }
}

/// This thread runs where nothing else wants to.
fn step_back() {
    // SAFETY: zeros are a valid parameter, which is only read. It concerns the calling thread only.
    unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param);
    }
}

/// On Linux this concerns the calling thread only; where it is not allowed the thread is like any other.
pub(super) fn be_nice() {
    // SAFETY: no memory is passed.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::RecvTimeoutError;

    const SOON: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(100);

    /// A job is a number, and is done when it is let go: 0 waits for that.
    fn start(in_order: bool) -> (Courteous<u32>, Sender<()>, Receiver<u32>) {
        let (go_on, waits) = channel();
        let (done, results) = channel();
        let waits = Mutex::new(waits);
        let terms = Terms {
            late: 0,
            in_time: 0,
            in_order,
        };
        let run = move |job| {
            if job == 0 {
                waits.lock().unwrap().recv().unwrap();
            }
            done.send(job).unwrap();
        };
        let (jobs, _) = Courteous::start("test", terms, run).unwrap();
        (jobs, go_on, results)
    }

    #[test]
    fn jobs_that_pile_up_are_done_beside() {
        let (jobs, go_on, results) = start(false);
        (0..=7).for_each(|job| jobs.submit(job));
        let others: Vec<u32> = (1..=7)
            .map(|_| results.recv_timeout(SOON).unwrap())
            .collect();
        assert_eq!(others, [1, 2, 3, 4, 5, 6, 7]);
        go_on.send(()).unwrap();
        assert_eq!(results.recv_timeout(SOON), Ok(0));
    }

    #[test]
    fn jobs_in_order_wait_for_the_first() {
        let (jobs, go_on, results) = start(true);
        (0..=7).for_each(|job| jobs.submit(job));
        assert_eq!(results.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        go_on.send(()).unwrap();
        let all: Vec<u32> = (0..=7)
            .map(|_| results.recv_timeout(SOON).unwrap())
            .collect();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_dropped_handle_leaves_no_job_undone() {
        let (jobs, go_on, results) = start(false);
        go_on.send(()).unwrap();
        (0..=7).for_each(|job| jobs.submit(job));
        drop(jobs);
        assert_eq!(results.into_iter().count(), 8);
    }
}
