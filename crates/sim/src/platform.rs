//! What a simulated server runs on: queues of bytes, a simulated disk, a virtual clock.
//!
//! Owns: what is between a server and its world. Never does: decide an order; the server asks, the
//! world carries.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::config::{Config, ConfigError, LogLevel};
use ::net::{Accepted, BindFailure, ConnId, Peer, Readiness, Socket};
use base::clock::{Clock, Mono, Now};
use cluster::ForWitnesses;
use command::api::{CpuView, MemoryView};
use server::{ClusterPlatform, EndSignal, Platform, Version, Versions};
use storage::{Disk, DiskFile, Done, Folders, Job};
use transport::{Command, Event as LinkEvent};

use crate::clock::{MemberClock, True};
use crate::disk::SimDisk;
use crate::net::Conn;
use crate::rng::Rng;

pub const CONF: &str = "nodes.conf";

// ---- the clock ------------------------------------------------------------------------------

struct Reading {
    now: True,
    /// Readings left until the stop, and how long it lasts.
    stop: Option<(u32, u64)>,
    cost: Rng,
    /// The disk's time for syncs on this thread, as last seen.
    synced: u64,
}

/// A thread's clock: every reading costs a little time, one of them may find that the process was
/// stopped meanwhile (SIGSTOP, a busy hypervisor), and syncs on the thread take their time.
#[derive(Clone)]
pub struct SimClock {
    member: Rc<RefCell<MemberClock>>,
    disk: SimDisk,
    reading: Rc<RefCell<Reading>>,
}

impl SimClock {
    pub fn new(member: Rc<RefCell<MemberClock>>, disk: SimDisk, now: True, cost: Rng) -> SimClock {
        let reading = Reading {
            now,
            stop: None,
            cost,
            // What others have waited for on this disk takes this thread no time.
            synced: disk.synced_ns(),
        };
        SimClock {
            member,
            disk,
            reading: Rc::new(RefCell::new(reading)),
        }
    }

    /// The thread goes on at this true time.
    pub fn begin(&self, now: True) {
        let mut reading = self.reading.borrow_mut();
        reading.now = reading.now.max(now);
        reading.synced = self.disk.synced_ns();
    }

    /// A reading to come, after so many others, finds that so much time has passed.
    pub fn stop(&self, after: u32, length: u64) {
        self.reading.borrow_mut().stop = Some((after, length));
    }

    pub fn pass(&self, length: u64) {
        self.reading.borrow_mut().now += length;
    }

    /// True time at the end of what has been done so far.
    pub fn end(&self) -> True {
        let mut reading = self.reading.borrow_mut();
        let synced = self.disk.synced_ns();
        reading.now += synced - reading.synced;
        reading.synced = synced;
        reading.now
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        self.end();
        let mut reading = self.reading.borrow_mut();
        let mut now = reading.now + reading.cost.range(200, 3000);
        match reading.stop {
            Some((0, length)) => {
                now += length;
                reading.stop = None;
            }
            Some((left, length)) => reading.stop = Some((left - 1, length)),
            None => {}
        }
        reading.now = now;
        self.member.borrow().read(now)
    }
}

// ---- clients --------------------------------------------------------------------------------

/// What a socket takes before the world has carried it away.
const SOCKET_ROOM: usize = 64 << 10;

/// A connection's bytes at the server's end.
#[derive(Default)]
pub struct Pipe {
    pub incoming: VecDeque<u8>,
    pub eof: bool,
    pub outgoing: Vec<u8>,
    /// The last write was short: the server waits to hear that it can write again.
    pub short: bool,
    /// The server has closed it.
    pub dropped: bool,
}

pub struct SimSocket {
    conn: Conn,
    pipe: Rc<RefCell<Pipe>>,
}

impl Write for SimSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.borrow_mut();
        let room = SOCKET_ROOM.saturating_sub(pipe.outgoing.len());
        let n = bytes.len().min(room);
        pipe.short = n < bytes.len();
        if n == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.outgoing.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for SimSocket {
    fn recv(&mut self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let mut pipe = self.pipe.borrow_mut();
        if pipe.incoming.is_empty() && !pipe.eof {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = room.len().min(pipe.incoming.len());
        for (place, byte) in room.iter_mut().zip(pipe.incoming.drain(..n)) {
            place.write(byte);
        }
        Ok(n)
    }

    fn is_at_end(&self) -> bool {
        let pipe = self.pipe.borrow();
        pipe.eof && pipe.incoming.is_empty()
    }

    fn local(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 7000)))
    }

    fn fd(&self) -> i32 {
        8
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.pipe.borrow_mut().dropped = true;
    }
}

/// A connection as the machine's kernel knows it.
pub struct SimConn {
    pub pipe: Rc<RefCell<Pipe>>,
    /// The name under which the server wants to hear of it, once it has accepted it.
    key: Option<ConnId>,
    /// The endpoint at the other end.
    pub peer: usize,
}

/// A connection, the endpoint at its other end, and the bytes for it.
pub type Written = (Conn, usize, Vec<u8>);

/// The kernel's side of clients and of the storage thread.
#[derive(Default)]
pub struct Kernel {
    arrivals: VecDeque<Conn>,
    pub conns: BTreeMap<Conn, SimConn>,
    /// What the poller would say.
    pub notes: Vec<(ConnId, Readiness)>,
    /// Jobs that were submitted, and for which of the process's shards.
    pub jobs: Vec<(u64, Job<SimDisk>)>,
    pub done: VecDeque<Done<SimDisk>>,
    /// Connections to servers outside, where there is no cluster.
    pub outgoing_orders: Vec<Command>,
    pub outgoing_events: VecDeque<LinkEvent>,
    /// Counts the shards of this process.
    pub shard_no: u64,
    /// SIGTERM has come.
    pub asked_to_end: bool,
}

impl Kernel {
    /// A client connects.
    pub fn open(&mut self, conn: Conn, peer: usize) {
        let pipe = Rc::default();
        let conns = &mut self.conns;
        conns.insert(
            conn,
            SimConn {
                pipe,
                key: None,
                peer,
            },
        );
        self.arrivals.push_back(conn);
    }

    /// Bytes have come, or the end of them.
    pub fn receive(&mut self, conn: Conn, bytes: &[u8], eof: bool) {
        let Some(of) = self.conns.get(&conn) else {
            return;
        };
        let mut pipe = of.pipe.borrow_mut();
        pipe.incoming.extend(bytes);
        pipe.eof |= eof;
        if let Some(key) = of.key {
            let readiness = Readiness {
                readable: true,
                writable: false,
                read_closed: pipe.eof,
            };
            self.notes.push((key, readiness));
        }
    }

    /// What the server has written since the last look, and which connections it has closed.
    pub fn take_output(&mut self) -> (Vec<Written>, Vec<(Conn, usize)>) {
        let (mut written, mut closed) = (Vec::new(), Vec::new());
        for (conn, of) in &self.conns {
            let mut pipe = of.pipe.borrow_mut();
            if !pipe.outgoing.is_empty() {
                written.push((*conn, of.peer, std::mem::take(&mut pipe.outgoing)));
            }
            if let (true, Some(key)) = (std::mem::take(&mut pipe.short), of.key) {
                let writable = Readiness {
                    writable: true,
                    ..Readiness::default()
                };
                self.notes.push((key, writable));
            }
            if pipe.dropped {
                closed.push((*conn, of.peer));
            }
        }
        for (conn, _) in &closed {
            self.conns.remove(conn);
        }
        (written, closed)
    }
}

pub struct SimPlatform {
    pub kernel: Rc<RefCell<Kernel>>,
    pub clock: SimClock,
    /// `dir`.
    pub disk: SimDisk,
}

impl Platform for SimPlatform {
    type Disk = SimDisk;
    type Folders = SimFolders;
    type Socket = SimSocket;
    type Clock = SimClock;
    type Cluster = SimCluster;

    fn has_arrivals(&self, _: Mono) -> bool {
        !self.kernel.borrow().arrivals.is_empty()
    }

    fn next_arrival(&self) -> Option<Mono> {
        None
    }

    fn accept(
        &mut self,
        _: Mono,
        _: Duration,
        take: &mut dyn FnMut(Accepted<SimSocket>),
    ) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        while let Some(conn) = kernel.arrivals.pop_front() {
            let Some(of) = kernel.conns.get(&conn) else {
                continue;
            };
            let pipe = Rc::clone(&of.pipe);
            take(Accepted {
                socket: SimSocket { conn, pipe },
                peer: Peer::Net(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000))),
            });
        }
        Ok(())
    }

    fn watch(&mut self, socket: &mut SimSocket, key: ConnId) -> io::Result<()> {
        let kernel = &mut *self.kernel.borrow_mut();
        if let Some(of) = kernel.conns.get_mut(&socket.conn) {
            of.key = Some(key);
            let pipe = of.pipe.borrow();
            if !pipe.incoming.is_empty() || pipe.eof {
                let readiness = Readiness {
                    readable: true,
                    writable: true,
                    read_closed: pipe.eof,
                };
                kernel.notes.push((key, readiness));
            }
        }
        Ok(())
    }

    fn file_freed(&mut self) {}

    fn listen(&mut self, _: &Config) -> Result<(), BindFailure> {
        Ok(())
    }

    fn make_room(&mut self, _: &Config) -> Option<u32> {
        None
    }

    fn submit(&mut self, job: Job<SimDisk>) {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.jobs.push((kernel.shard_no, job));
    }

    fn next_done(&mut self) -> Option<Done<SimDisk>> {
        self.kernel.borrow_mut().done.pop_front()
    }

    fn next_outgoing(&mut self) -> Option<LinkEvent> {
        self.kernel.borrow_mut().outgoing_events.pop_front()
    }

    fn order_outgoing(&mut self, order: Command) {
        self.kernel.borrow_mut().outgoing_orders.push(order);
    }

    fn replace_storage(&mut self) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        kernel.shard_no += 1;
        kernel.done.clear();
        Ok(())
    }

    fn abandon_storage(&mut self) {
        self.kernel.borrow_mut().shard_no += 1;
    }

    fn dir(&self, _: &Config) -> SimDisk {
        self.disk.clone()
    }

    fn asked_to_end(&self) -> Option<EndSignal> {
        let asked = self.kernel.borrow().asked_to_end;
        asked.then_some(EndSignal::Term)
    }

    fn end_failed(&mut self) {
        self.kernel.borrow_mut().asked_to_end = false;
    }

    fn rest(&mut self, time: Duration) {
        self.clock.pass(time.as_nanos() as u64);
    }

    fn set_log_level(&mut self, _: LogLevel) {}

    fn rewrite_config(&mut self, _: &Config) -> Result<(), ConfigError> {
        Err(ConfigError::NoConfigFile)
    }

    /// More than any run has: what a state may take follows from the log (D5).
    fn allocator_report(&self) -> String {
        String::new()
    }

    fn purge_memory(&mut self) -> bool {
        true
    }

    fn memory(&self) -> MemoryView {
        MemoryView {
            used: 1 << 30,
            ..MemoryView::default()
        }
    }

    fn sample_memory(&mut self) {}

    fn cpu(&self) -> CpuView {
        CpuView::default()
    }

    fn loop_cpu(&self) -> Duration {
        Duration::ZERO
    }
}

// ---- the cluster ----------------------------------------------------------------------------

/// The links, and what the thread of the witnesses has before it.
#[derive(Default)]
pub struct Wires {
    pub event: VecDeque<LinkEvent>,
    pub orders: Vec<Command>,
    pub for_witnesses: VecDeque<ForWitnesses>,
    pub hosted: Cell<usize>,
}

/// The jobs that replace nodes.conf report here.
type Saved = Arc<Mutex<VecDeque<io::Result<u64>>>>;

pub struct SimCluster {
    pub wires: Rc<RefCell<Wires>>,
    disk: SimDisk,
    saved: Saved,
    versions: Versions,
}

impl SimCluster {
    pub fn new(wires: Rc<RefCell<Wires>>, disk: SimDisk) -> SimCluster {
        SimCluster {
            wires,
            disk,
            saved: Saved::default(),
            versions: Versions::default(),
        }
    }
}

/// Replaces nodes.conf, as the node's `conf` does.
fn save_conf(disk: &SimDisk, text: &str, version: &Version) -> io::Result<()> {
    let temp = format!("{CONF}.tmp");
    let file = disk.create(&temp)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    version.replace(|| disk.rename(&temp, CONF))?;
    disk.sync_dir()
}

/// What nodes.conf holds; nothing where there is none.
pub fn load_conf(disk: &SimDisk) -> io::Result<Vec<u8>> {
    if !disk.list()?.iter().any(|n| n == CONF) {
        return Ok(Vec::new());
    }
    let file = disk.open(CONF)?;
    let mut bytes = vec![0; file.len()? as usize];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

impl ClusterPlatform for SimCluster {
    type Disk = SimDisk;

    fn next_event(&mut self) -> Option<LinkEvent> {
        self.wires.borrow_mut().event.pop_front()
    }

    fn order(&mut self, order: Command) {
        self.wires.borrow_mut().orders.push(order);
    }

    fn tell_witnesses(&mut self, order: ForWitnesses) {
        self.wires.borrow_mut().for_witnesses.push_back(order);
    }

    fn hosted_witnesses(&self) -> usize {
        self.wires.borrow().hosted.get()
    }

    fn conf_job(&mut self, text: String, vote: u64) -> Job<SimDisk> {
        let (disk, saved) = (self.disk.clone(), Arc::clone(&self.saved));
        let version = self.versions.next();
        Job::Call(Box::new(move || {
            let result = save_conf(&disk, &text, &version).map(|()| vote);
            let mut saved = saved.lock().expect("nobody panics with it");
            saved.push_back(result);
        }))
    }

    fn next_conf_saved(&mut self) -> Option<io::Result<u64>> {
        let mut saved = self.saved.lock().expect("nobody panics with it");
        saved.pop_front()
    }

    fn save_conf(&mut self, text: &str) -> io::Result<()> {
        save_conf(&self.disk, text, &self.versions.next())
    }

    fn conf_name(&self) -> String {
        CONF.to_owned()
    }
}

/// Folders on the simulated disk.
#[derive(Clone)]
pub struct SimFolders(pub SimDisk);

impl Folders for SimFolders {
    type D = SimDisk;

    fn own(&self) -> SimDisk {
        self.0.clone()
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn folder(&self, name: &str) -> io::Result<SimDisk> {
        self.0.make_folder(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)?;
        self.0.sync_dir()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.0.list()?.iter().any(|n| n == name) {
            return Ok(());
        }
        // As the real one: without its base a folder is nobody's.
        let folder = self.0.make_folder(name)?;
        let base = storage::base::FILE;
        if folder.list()?.iter().any(|file| file == base) {
            folder.remove(base)?;
            folder.sync_dir()?;
        }
        self.0.remove_folder(name)
    }

    fn place(&self, name: &str) -> String {
        name.to_owned()
    }
}
