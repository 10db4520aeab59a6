//! Orders for the preloaded `shim.c`: it slows, hangs and fails what a node asks of its disk, and
//! stops a thread right after it has read a clock.
//!
//! Owns the library (compiled once with `cc`), the mapped file of orders, and one [`Rule`] per
//! order, which ends when it is dropped: whatever hangs goes on then.

use crate::harness::{check, wait_for};
use memmap2::MmapMut;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const RULES: usize = 16;

/// As in `shim.c`.
#[repr(C)]
struct Raw {
    state: AtomicU32,
    ops: u32,
    action: u32,
    error: i32,
    delay_ms: u32,
    hits: AtomicU32,
    hanging: AtomicU32,
    clock: i32,
    woken: AtomicU32,
    thread: [u8; 16],
    path: [u8; 200],
}

/// What a node asks of its disk.
#[derive(Clone, Copy)]
pub enum Op {
    /// fdatasync, fsync
    Sync = 1,
    /// pwrite, pwritev
    Write = 2,
    /// pread
    Read = 4,
    /// fallocate
    Allocate = 8,
    /// open
    Open = 32,
}

/// For `Order::clock`: the last of the three that the loop reads at the begin of a turn.
const CLOCK: u32 = 16;

/// The loop, the storage thread, the thread of the hosted witnesses, the links.
pub const LOOP: &str = "main";
pub const STORAGE: &str = "hf-storage";
pub const WITNESS: &str = "hf-witness";

/// The library that nodes preload; `None` on a machine without a C compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attack/shim.c");
        let made = folder.join(format!("attack-shim-{}.so", std::process::id()));
        let out = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
            .args([made.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "shim.c does not compile: {said}");
        let name = folder.join("attack-shim.so");
        std::fs::rename(made, &name).expect("the library takes its place");
        Some(name)
    };
    BUILT.get_or_init(build).as_deref()
}

/// The orders for one node.
#[derive(Clone)]
pub struct Shim {
    map: Arc<Mutex<MmapMut>>,
    control: PathBuf,
}

impl Shim {
    /// Orders in a file of this folder; `None` where there is no C compiler.
    pub fn new(folder: &Path) -> Option<Shim> {
        library()?;
        let control = folder.join("attack-control");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&control)
            .expect("a control file");
        file.set_len((RULES * size_of::<Raw>()) as u64)
            .expect("its length");
        // SAFETY: nobody cuts the file; what two processes write at once are atomics.
        let map = unsafe { MmapMut::map_mut(&file) }.expect("the control file is mapped");
        Some(Shim {
            map: Arc::new(Mutex::new(map)),
            control,
        })
    }

    /// What a node's environment needs.
    pub fn environment(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let library = library().expect("it was compiled before");
        [
            ("LD_PRELOAD".into(), text(library)),
            ("ATTACK_CONTROL".into(), text(&self.control)),
        ]
    }

    /// Begins an order about this operation.
    pub fn on(&self, op: Op) -> Order<'_> {
        self.order(op as u32)
    }

    fn order(&self, ops: u32) -> Order<'_> {
        Order {
            shim: self,
            ops,
            thread: "",
            path: String::new(),
            clock: 0,
        }
    }

    /// Stops the loop between the clock reading with which a turn begins and its next line, in the
    /// next turn that begins. [`Rule::wait_hanging`] says when it stands.
    pub fn stop_loop_behind_clock(&self) -> Rule {
        let mut order = self.order(CLOCK).thread(LOOP);
        order.clock = libc::CLOCK_REALTIME;
        order.hang()
    }

    fn raw(&self, at: usize) -> &Raw {
        let map = self.map.lock().expect("no holder panics");
        let first: *const Raw = map.as_ptr().cast();
        // SAFETY: the map is page aligned, as long as RULES of them, and lives as long as `self`.
        unsafe { &*first.add(at) }
    }
}

/// An order that is being made.
pub struct Order<'a> {
    shim: &'a Shim,
    ops: u32,
    thread: &'static str,
    path: String,
    clock: i32,
}

impl Order<'_> {
    /// Only on threads whose name begins so ([`LOOP`] is the first one).
    pub fn thread(mut self, name: &'static str) -> Self {
        self.thread = name;
        self
    }

    /// Only files whose path has this in it; with a `$` behind it: whose path ends so.
    pub fn path(mut self, part: &str) -> Self {
        self.path = part.to_owned();
        self
    }

    /// Such calls hang until the rule is dropped.
    pub fn hang(self) -> Rule {
        self.give(1, 0, Duration::ZERO)
    }

    /// Such calls take so much longer.
    pub fn delay(self, by: Duration) -> Rule {
        self.give(0, 0, by)
    }

    /// Such calls fail: `libc::ENOSPC`, `libc::EIO`.
    pub fn fail(self, error: i32) -> Rule {
        self.give(2, error, Duration::ZERO)
    }

    fn give(self, action: u32, error: i32, delay: Duration) -> Rule {
        let mut map = self.shim.map.lock().expect("no holder panics");
        let first: *mut Raw = map.as_mut_ptr().cast();
        // SAFETY: as in `Shim::raw`; a rule that is off is read by nobody but for its state.
        let free = (0..RULES).find(|at| unsafe { &*first.add(*at) }.state.load(SeqCst) == 0);
        let at = free.expect("sixteen rules at a time are enough");
        let raw = unsafe { &mut *first.add(at) };
        (raw.ops, raw.action, raw.error) = (self.ops, action, error);
        (raw.delay_ms, raw.clock) = (delay.as_millis() as u32, self.clock);
        for count in [&raw.hits, &raw.hanging, &raw.woken] {
            count.store(0, SeqCst);
        }
        raw.thread = [0; 16];
        raw.thread[..self.thread.len()].copy_from_slice(self.thread.as_bytes());
        raw.path = [0; 200];
        raw.path[..self.path.len()].copy_from_slice(self.path.as_bytes());
        raw.state.store(1, SeqCst);
        Rule {
            shim: self.shim.clone(),
            at,
        }
    }
}

/// An order in force.
pub struct Rule {
    shim: Shim,
    at: usize,
}

impl Rule {
    /// How often it was obeyed.
    pub fn hits(&self) -> u32 {
        self.shim.raw(self.at).hits.load(SeqCst)
    }

    /// Waits until a thread hangs in it.
    pub fn wait_hanging(&self, deadline: Duration) {
        wait_for("a thread hangs as ordered", deadline, || {
            let hanging = self.shim.raw(self.at).hanging.load(SeqCst);
            check(hanging > 0, || "none does".into())
        });
    }

    pub fn wait_hits(&self, count: u32, deadline: Duration) {
        wait_for("the order was obeyed", deadline, || {
            check(self.hits() >= count, || format!("{} times", self.hits()))
        });
    }

    /// Ends it: what hangs goes on.
    pub fn release(self) {}
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.shim.raw(self.at).state.store(0, SeqCst);
    }
}
