//! A folder of `redis-cli --cluster backup`.
//!
//! Owns what `nodes.json` says, and whether the files beside it are what it says: each whole, and with keys of
//! its master's slots alone. Keeps no keys.

use super::Failure;
use base::slot::{key_slot, SLOT_COUNT};
use base::SlotSet;
use rdb::file::{Item, Reader};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

const NODES: &str = "nodes.json";
const SLICE: usize = 1 << 20;
/// No string is longer. A few compressed bytes may claim to be many.
const STRING_MAX: usize = 4 << 30;

/// A master of the cluster that was, and its file.
#[derive(Clone, Debug, Default)]
pub struct Master {
    pub path: PathBuf,
    pub slots: SlotSet,
    pub keys: u64,
    /// Keys of them that expire.
    pub mortal: u64,
    /// Slots that have keys.
    pub used: SlotSet,
}

/// What a backup holds: masters with slots, in the order of their first ones.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    pub masters: Vec<Master>,
    pub replicas: usize,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Backup {
    /// Reads all of it.
    pub fn read(folder: &Path) -> Result<Backup, Failure> {
        let path = folder.join(NODES);
        let failed =
            |why: &dyn std::fmt::Display| Failure::Failed(format!("{}: {why}", path.display()));
        let text = fs::read(&path).map_err(|why| failed(&why))?;
        let refused = |why: String| Failure::Refused(format!("{}: {why}", path.display()));
        let mut backup = parse(folder, &text).map_err(refused)?;
        for master in &mut backup.masters {
            master
                .look()
                .map_err(|why| Failure::Refused(format!("{}: {why}", master.path.display())))?;
        }
        Ok(backup)
    }

    /// Slots of all masters.
    pub fn slots(&self) -> SlotSet {
        let mut all = SlotSet::default();
        self.masters.iter().for_each(|m| all.unite(&m.slots));
        all
    }

    /// What is said of it.
    pub fn lines(&self) -> Vec<String> {
        let of = |master: &Master| {
            format!(
                "{}: whole, {} keys, slots {}",
                master.path.display(),
                master.keys,
                ranges(&master.slots)
            )
        };
        let masters = self.masters.iter().map(of);
        masters.chain(self.notes.iter().cloned()).collect()
    }
}

/// As CLUSTER NODES shows them.
pub fn ranges(slots: &SlotSet) -> String {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = slots.ranges().iter().map(range).collect();
    match ranges.is_empty() {
        true => "none".to_owned(),
        false => ranges.join(" "),
    }
}

/// What nodes.json says; the files are not opened.
fn parse(folder: &Path, text: &[u8]) -> Result<Backup, String> {
    let json: Value = serde_json::from_slice(text).map_err(|why| why.to_string())?;
    let nodes = json.as_array().ok_or("it is no list of nodes")?;
    let mut backup = Backup::default();
    let mut all = SlotSet::default();
    for node in nodes {
        let field = |name: &str| node.get(name).and_then(Value::as_str);
        let name = field("name").ok_or("it has a node without a name")?;
        let missing = |what: &str| format!("the node {name} has no {what}");
        if node.get("replicate").is_some_and(|of| !of.is_null()) {
            backup.replicas += 1;
            continue;
        }
        let host = field("host").ok_or_else(|| missing("host"))?;
        let port = node.get("port").and_then(Value::as_u64);
        let port = port.ok_or_else(|| missing("port"))?;
        let slots = node.get("slots").and_then(slots_of);
        let slots = slots.ok_or_else(|| missing("slots that can be read"))?;
        for open in ["migrating", "importing"] {
            if node.get(open).is_some() {
                backup.notes.push(format!(
                    "note: slots of {host}:{port} were {open}: a key on its way then may be in two files, or in none"
                ));
            }
        }
        if let Some(slot) = slots.iter().find(|slot| all.contains(*slot)) {
            return Err(format!("slot {slot} is of two masters"));
        }
        all.unite(&slots);
        let path = folder.join(format!("redis-node-{host}-{port}-{name}.rdb"));
        if slots.is_empty() {
            backup
                .notes
                .push(format!("note: {host}:{port} had no slots, and is left out"));
            continue;
        }
        backup.masters.push(Master {
            path,
            slots,
            ..Master::default()
        });
    }
    if backup.masters.is_empty() {
        return Err("no master has slots".to_owned());
    }
    backup.masters.sort_by_key(|m| m.slots.iter().next());
    let left = usize::from(SLOT_COUNT) - all.len();
    if left > 0 {
        backup
            .notes
            .push(format!("note: {left} slots were of no master, and stay so"));
    }
    Ok(backup)
}

/// `[[0,5460],[7000,7000]]`.
fn slots_of(list: &Value) -> Option<SlotSet> {
    let mut slots = SlotSet::default();
    for range in list.as_array()? {
        let [first, last] = range.as_array()?.as_slice() else {
            return None;
        };
        let (first, last) = (first.as_u64()?, last.as_u64()?);
        if first > last || last >= u64::from(SLOT_COUNT) {
            return None;
        }
        slots.unite(&(u16::try_from(first).ok()?..=u16::try_from(last).ok()?).collect());
    }
    Some(slots)
}

impl Master {
    /// Reads its file from the first byte to the last.
    fn look(&mut self) -> Result<(), String> {
        let mut file = File::open(&self.path).map_err(|why| why.to_string())?;
        let (mut reader, mut slice) = (Reader::new(STRING_MAX), vec![0; SLICE]);
        loop {
            let n = file.read(&mut slice).map_err(|why| why.to_string())?;
            if n == 0 {
                break;
            }
            let mut rest = &slice[..n];
            while let Some(item) = reader
                .next(&mut rest, &mut || {})
                .map_err(|why| why.to_string())?
            {
                self.item(&item)?;
            }
        }
        reader.finish().map_err(|why| why.to_string())
    }

    fn item(&mut self, item: &Item<'_>) -> Result<(), String> {
        match item {
            Item::Db(0) => Ok(()),
            Item::Db(db) => Err(format!(
                "it has keys of database {db}, and a cluster has one"
            )),
            Item::Function(_) => {
                Err("it has a library of functions, and there are none here".to_owned())
            }
            Item::Entry(entry) => self.key(&entry.key, entry.expires_at_ms),
            Item::Begin(begin) => self.key(&begin.head.key, begin.head.expires_at_ms),
            _ => Ok(()),
        }
    }

    fn key(&mut self, key: &[u8], expires_at_ms: Option<i64>) -> Result<(), String> {
        let slot = key_slot(key);
        if !self.slots.contains(slot) {
            return Err(format!(
                "the key \"{}\" is of slot {slot}, which its master did not have",
                key.escape_ascii()
            ));
        }
        self.keys += 1;
        self.mortal += u64::from(expires_at_ms.is_some());
        self.used.insert(slot);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, port: u16, slots: &str, more: &str) -> String {
        format!(
            r#"{{"name":"{name}","host":"127.0.0.1","port":{port},"replicate":null,"slots":[{slots}],"slots_count":1{more}}}"#
        )
    }

    fn parsed(nodes: &[String]) -> Result<Backup, String> {
        parse(Path::new("b"), format!("[{}]", nodes.join(",")).as_bytes())
    }

    #[test]
    fn masters_come_in_the_order_of_their_slots() {
        let replica = r#"{"name":"r","host":"h","port":3,"replicate":"b","slots":[]}"#.to_owned();
        let backup = parsed(&[
            node("b", 2, "[8000,16383]", ""),
            replica,
            node("a", 1, "[0,5],[7,7999]", r#","migrating":{"5":"b"}"#),
            node("c", 4, "", ""),
        ]);
        let backup = backup.unwrap();
        let names: Vec<_> = backup.masters.iter().map(|m| m.path.clone()).collect();
        let file = |port: u16, name: &str| {
            PathBuf::from(format!("b/redis-node-127.0.0.1-{port}-{name}.rdb"))
        };
        assert_eq!(names, [file(1, "a"), file(2, "b")]);
        assert_eq!((backup.replicas, backup.slots().len()), (1, 16383));
        assert_eq!(ranges(&backup.masters[0].slots), "0-5 7-7999");
        let notes = backup.notes.join("\n");
        for want in [
            "were migrating",
            "127.0.0.1:4 had no slots",
            "1 slots were of no master",
        ] {
            assert!(notes.contains(want), "{notes}");
        }
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        for (nodes, want) in [
            (
                vec![node("a", 1, "[0,5]", ""), node("b", 2, "[5,6]", "")],
                "slot 5 is of two masters",
            ),
            (vec![node("a", 1, "[5,4]", "")], "slots that can be read"),
            (
                vec![node("a", 1, "[0,16384]", "")],
                "slots that can be read",
            ),
            (vec![node("a", 1, "", "")], "no master has slots"),
            (vec!["{}".to_owned()], "without a name"),
        ] {
            let why = parsed(&nodes).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
        parse(Path::new("b"), b"{}").unwrap_err();
        parse(Path::new("b"), b"[").unwrap_err();
    }
}
