//! One file and one folder of the simulated disk, and what a power loss leaves of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::rng::Rng;

/// What the device writes at once, unless it is torn.
const SECTOR: usize = 512;

/// How a power loss treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Everything unsynced is gone.
    All,
    /// Everything happened to be written back.
    Nothing,
    /// A prefix of the writes, in their order, made it.
    Tail,
    /// Each sector has a fate of its own, some are torn.
    Sectors,
}

impl Loss {
    pub fn any(rng: &mut Rng) -> Loss {
        *rng.pick(&[
            Loss::All,
            Loss::Nothing,
            Loss::Tail,
            Loss::Sectors,
            Loss::Sectors,
        ])
    }
}

#[derive(Clone, Debug)]
pub enum DirOp {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl DirOp {
    /// What the names of the folder's files begin with.
    pub fn folder(&self) -> &str {
        let (DirOp::Create(name, _) | DirOp::Rename(name, _) | DirOp::Remove(name)) = self;
        name.find('/').map_or("", |at| &name[..=at])
    }

    pub fn apply(&self, dir: &mut BTreeMap<String, u64>) {
        match self {
            DirOp::Create(name, inode) => {
                dir.insert(name.clone(), *inode);
            }
            DirOp::Rename(from, to) => {
                if let Some(inode) = dir.remove(from) {
                    dir.insert(to.clone(), inode);
                }
                // A folder takes along what is in it.
                let inside = format!("{from}/");
                let names = dir.keys().filter(|name| name.starts_with(&inside));
                for name in names.cloned().collect::<Vec<_>>() {
                    let inode = dir.remove(&name).expect("it was just seen");
                    dir.insert(format!("{to}/{}", &name[inside.len()..]), inode);
                }
            }
            DirOp::Remove(name) => {
                dir.remove(name);
            }
        }
    }
}

/// Carries out those folder operations that a power loss left.
pub fn settle_dir(
    dir: &mut BTreeMap<String, u64>,
    ops: Vec<(u64, DirOp)>,
    loss: Loss,
    rng: &mut Rng,
) {
    let keep = match loss {
        Loss::All => 0,
        Loss::Nothing => ops.len(),
        // File systems journal their metadata in order, mostly.
        Loss::Tail | Loss::Sectors => rng.below(ops.len() as u64 + 1) as usize,
    };
    let any = loss == Loss::Sectors && rng.chance(0.3);
    for (i, (_, op)) in ops.iter().enumerate() {
        if (any && rng.chance(0.5)) || (!any && i < keep) {
            op.apply(dir);
        }
    }
}

#[derive(Clone, Debug)]
struct Write {
    seq: u64,
    offset: usize,
    bytes: Vec<u8>,
}

impl Write {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

/// A file's content, twice.
#[derive(Clone, Debug, Default)]
pub struct Inode {
    /// What reads see.
    pub cache: Vec<u8>,
    durable: Vec<u8>,
    /// Writes between the two images, oldest first.
    pending: Vec<Write>,
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

impl Inode {
    pub fn write(&mut self, seq: u64, bytes: &[u8], offset: u64) {
        let offset = usize::try_from(offset).expect("a file fits memory");
        put(&mut self.cache, offset, bytes);
        self.pending.push(Write {
            seq,
            offset,
            bytes: bytes.to_vec(),
        });
    }

    /// Everything up to write `upto` is durable.
    pub fn sync(&mut self, upto: u64) {
        let n = self.pending.partition_point(|w| w.seq <= upto);
        for w in self.pending.drain(..n) {
            put(&mut self.durable, w.offset, &w.bytes);
        }
    }

    /// A failed write-back: the pages look clean and never reached the device.
    pub fn forget_dirty(&mut self) {
        self.pending.clear();
    }

    /// What is read next comes from the device, but for pages that are dirty.
    pub fn drop_clean(&mut self) {
        let mut image = self.durable.clone();
        for w in &self.pending {
            put(&mut image, w.offset, &w.bytes);
        }
        self.cache = image;
    }

    /// The power is gone and back.
    pub fn settle(&mut self, loss: Loss, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        match loss {
            Loss::All => {}
            Loss::Nothing => {
                pending
                    .iter()
                    .for_each(|w| put(&mut self.durable, w.offset, &w.bytes));
            }
            Loss::Tail => {
                let keep = rng.below(pending.len() as u64 + 1) as usize;
                for w in &pending[..keep] {
                    put(&mut self.durable, w.offset, &w.bytes);
                }
            }
            Loss::Sectors => self.settle_sectors(&pending, rng),
        }
        self.cache = self.durable.clone();
    }

    fn settle_sectors(&mut self, pending: &[Write], rng: &mut Rng) {
        let mut sectors = BTreeSet::new();
        for w in pending {
            if !w.bytes.is_empty() {
                sectors.extend(w.offset / SECTOR..=(w.end() - 1) / SECTOR);
            }
        }
        let keep_p = *rng.pick(&[0.1, 0.5, 0.9]);
        let torn_p = *rng.pick(&[0.0, 0.1, 0.5]);
        // The size is metadata: it survives or not, whatever the data do.
        let size_kept = rng.chance(0.5);
        let len = if size_kept {
            self.cache.len()
        } else {
            self.durable.len()
        };
        self.durable.resize(len.max(self.durable.len()), 0);
        for sector in sectors {
            let from = sector * SECTOR;
            let versions: Vec<&Write> = pending
                .iter()
                .filter(|w| w.offset < from + SECTOR && w.end() > from)
                .collect();
            let all = versions.len();
            let kept = if rng.chance(0.3) {
                rng.below(all as u64 + 1) as usize
            } else if rng.chance(keep_p) {
                all
            } else {
                0
            };
            let torn =
                (kept < all && rng.chance(torn_p)).then(|| rng.below(SECTOR as u64) as usize);
            for (i, w) in versions.iter().enumerate() {
                let until = match torn {
                    _ if i < kept => SECTOR,
                    Some(byte) if i == kept => byte,
                    _ => 0,
                };
                self.put_part(w, from, from + until);
            }
        }
    }

    /// Writes what of `w` lies in `from..to`, as far as the file reaches.
    fn put_part(&mut self, w: &Write, from: usize, to: usize) {
        let a = w.offset.max(from);
        let b = w.end().min(to).min(self.durable.len());
        if a < b {
            self.durable[a..b].copy_from_slice(&w.bytes[a - w.offset..b - w.offset]);
        }
    }
}
