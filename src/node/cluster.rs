//! What a real server in a cluster runs on: the links' thread, the witnesses' thread, nodes.conf.
//!
//! Owns them. Decides nothing.

use super::conf::ConfFile;
use super::witness;
use crate::sockets::Registrar;
use cluster::ForWitnesses;
use server::ClusterPlatform;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use storage::{Job, RealDisk};
use transport::{self, Command, Event, Links};

pub struct RealCluster {
    links: Links,
    conf: ConfFile,
    witness: witness::Thread,
    hosted: Arc<AtomicUsize>,
}

impl RealCluster {
    /// Listens on the bus port as `config` says and starts the threads. The links take and make no Raft
    /// connection before they are told this node's name.
    pub fn start(
        config: transport::TransportConfig,
        conf: PathBuf,
        registrar: &Registrar,
        witnesses: witness::Setup,
    ) -> io::Result<RealCluster> {
        let waker = registrar.waker();
        let links = transport::start(Arc::clone(&waker), config)?;
        registrar.register_links(&links)?;
        let hosted = Arc::new(AtomicUsize::new(0));
        let witness = witness::Thread::start(witnesses, links.orders(), Arc::clone(&hosted))?;
        let wake = move || {
            // It fails only if the loop's end is closed, and then nobody waits.
            let _ = waker.wake();
        };
        Ok(RealCluster {
            links,
            conf: ConfFile::new(conf, Arc::new(wake)),
            witness,
            hosted,
        })
    }
}

impl ClusterPlatform for RealCluster {
    type Disk = RealDisk;

    fn next_event(&mut self) -> Option<Event> {
        self.links.try_recv()
    }

    fn order(&mut self, order: Command) {
        self.links.send(order);
    }

    fn tell_witnesses(&mut self, order: ForWitnesses) {
        self.witness.send(order);
    }

    fn hosted_witnesses(&self) -> usize {
        self.hosted.load(Ordering::Relaxed)
    }

    fn conf_job(&mut self, text: String, vote: u64) -> Job<RealDisk> {
        self.conf.job(text, vote)
    }

    fn next_conf_saved(&mut self) -> Option<io::Result<u64>> {
        self.conf.next_saved()
    }

    fn save_conf(&mut self, text: &str) -> io::Result<()> {
        self.conf.save(text)
    }

    fn conf_name(&self) -> String {
        self.conf.path().display().to_string()
    }
}
