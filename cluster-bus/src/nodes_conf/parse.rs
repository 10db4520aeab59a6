//! Owns the reading of nodes.conf as Redis 7.0 and later write it. Never repairs: what Redis would
//! not have written is told with its line, because guessing at epochs or owners of slots costs
//! data. Redis tolerates more: a missing `vars` line, slots that two nodes own, ids that come
//! twice. Invariant: no text panics.

use super::{NodeLine, NodesConf, FLAG_WORDS};
use crate::names;
use crate::slot::SLOT_COUNT;
use crate::wire::Flags;
use crate::{NodeId, SlotSet};
use std::collections::BTreeSet;

/// What a server listens on for the bus when a file of old does not say it: port + 10000.
const CPORT_DISTANCE: u16 = 10_000;

/// Why a text is not a nodes.conf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nodes.conf, line {line}: {what}")]
pub struct ConfError {
    /// Counted from 1; the last one if something is missing.
    pub line: usize,
    pub what: String,
}

/// What is wrong with one line.
type Check<T> = Result<T, String>;

/// Reads a nodes.conf. Lines that are empty or begin with `#` are skipped. An empty text is an
/// error as well: it has no line of this node; the caller knows whether the file is new.
pub fn parse(text: &str) -> Result<NodesConf, ConfError> {
    let mut reader = Reader::default();
    let mut last = 0;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        last = at + 1;
        reader
            .line(line)
            .map_err(|what| ConfError { line: last, what })?;
    }
    reader.finish().map_err(|what| ConfError {
        line: last.max(1),
        what,
    })
}

#[derive(Default)]
struct Reader {
    nodes: Vec<NodeLine>,
    ids: BTreeSet<NodeId>,
    owned: SlotSet,
    moving: SlotSet,
    has_myself: bool,
    /// Current epoch, last vote's epoch.
    vars: Option<(u64, u64)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Check<()> {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            None => Ok(()),
            Some(first) if first.starts_with('#') => Ok(()),
            // Cut in the middle of a number the line would still read well.
            Some("vars") if !line.ends_with('\n') => Err("the line is cut off".into()),
            Some("vars") => self.vars(words.collect()),
            Some(id) => self.node(id, &words.collect::<Vec<_>>()),
        }
    }

    fn vars(&mut self, words: Vec<&str>) -> Check<()> {
        if self.vars.is_some() {
            return Err("a second line of vars".into());
        }
        let (mut current, mut vote) = (None, None);
        for pair in words.chunks(2) {
            let &[name, value] = pair else {
                return Err(format!("{} has no value", pair[0]));
            };
            match name {
                "currentEpoch" => current = Some(number(value, "currentEpoch")?),
                "lastVoteEpoch" => vote = Some(number(value, "lastVoteEpoch")?),
                // Of a newer release: Redis skips it as well.
                _ => (),
            }
        }
        let current = current.ok_or("currentEpoch is missing")?;
        self.vars = Some((current, vote.ok_or("lastVoteEpoch is missing")?));
        Ok(())
    }

    fn node(&mut self, id: &str, words: &[&str]) -> Check<()> {
        let &[address, flags, master, ping, pong, epoch, link, ref slots @ ..] = words else {
            return Err(format!("{} fields, at least 8 expected", words.len() + 1));
        };
        let mut node = NodeLine {
            id: parse_id(id)?,
            flags: flag_words(flags)?,
            master: match master {
                "-" => None,
                id => Some(parse_id(id)?),
            },
            ping_sent_ms: number(ping, "ping-sent")?,
            pong_received_ms: number(pong, "pong-received")?,
            config_epoch: number(epoch, "config-epoch")?,
            connected: match link {
                "connected" => true,
                "disconnected" => false,
                _ => return Err(format!("link state {link:?}")),
            },
            ..NodeLine::default()
        };
        read_address(address, &mut node)?;
        for word in slots {
            match word.strip_prefix('[') {
                Some(motion) => self.read_motion(motion, &mut node)?,
                None => self.read_slots(word, &mut node)?,
            }
        }
        self.check_node(&node)?;
        self.nodes.push(node);
        Ok(())
    }

    fn read_slots(&mut self, word: &str, node: &mut NodeLine) -> Check<()> {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (slot(first)?, slot(last)?);
        if first > last {
            return Err(format!("slots {word} run backwards"));
        }
        for slot in first..=last {
            if !self.owned.insert(slot) {
                return Err(format!("slot {slot} is owned twice"));
            }
            node.slots.insert(slot);
        }
        Ok(())
    }

    /// What follows the `[` of `[slot->-id]` or `[slot-<-id]`.
    fn read_motion(&mut self, word: &str, node: &mut NodeLine) -> Check<()> {
        let wrong = || format!("[{word} is no slot in motion");
        let inner = word.strip_suffix(']').ok_or_else(wrong)?;
        let (number, rest) = inner.split_once('-').ok_or_else(wrong)?;
        let (list, id) = match rest.split_once('-').ok_or_else(wrong)? {
            (">", id) => (&mut node.migrating, id),
            ("<", id) => (&mut node.importing, id),
            _ => return Err(wrong()),
        };
        let number = slot(number)?;
        if !self.moving.insert(number) {
            return Err(format!("slot {number} is in motion twice"));
        }
        list.push((number, parse_id(id)?));
        Ok(())
    }

    /// What holds between the fields of a line, and between lines.
    fn check_node(&mut self, node: &NodeLine) -> Check<()> {
        let flags = node.flags;
        let myself = flags.has(Flags::MYSELF);
        let moving = !(node.migrating.is_empty() && node.importing.is_empty());
        let wrong = if !self.ids.insert(node.id) {
            "the node has a line already"
        } else if myself && self.has_myself {
            "a second node is myself"
        } else if flags.has(Flags::MASTER) && flags.has(Flags::SLAVE) {
            "both master and slave"
        } else if myself && !flags.has(Flags::MASTER) && !flags.has(Flags::SLAVE) {
            "myself is neither master nor slave"
        } else if node.master.is_some() && !flags.has(Flags::SLAVE) {
            "only a slave has a master"
        } else if node.master == Some(node.id) {
            "the node is its own master"
        } else if flags.has(Flags::SLAVE) && !node.slots.is_empty() {
            "a slave owns no slots"
        } else if moving && !myself {
            "slots in motion stand in the line of myself only"
        } else {
            self.has_myself |= myself;
            return Ok(());
        };
        Err(wrong.into())
    }

    fn finish(self) -> Check<NodesConf> {
        if !self.has_myself {
            return Err("no node is myself".into());
        }
        // Without it a vote that was given could be given again; it is also the last line, so
        // that a file that was cut is noticed.
        let (current_epoch, last_vote_epoch) = self.vars.ok_or("the line of vars is missing")?;
        // As Redis does: no node can have claimed slots in an epoch that never was.
        let epochs = self.nodes.iter().map(|node| node.config_epoch);
        Ok(NodesConf {
            current_epoch: epochs.fold(current_epoch, u64::max),
            last_vote_epoch,
            nodes: self.nodes,
        })
    }
}

/// `ip:port[@cport][,hostname][,name=value]...`
fn read_address(word: &str, node: &mut NodeLine) -> Check<()> {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or("");
    node.hostname = match parts.next().unwrap_or("") {
        hostname if names::is_hostname(hostname) => hostname.to_owned(),
        other => return Err(format!("hostname {other:?}")),
    };
    // An address's last colon: those of IPv6 are not escaped.
    let (ip, ports) = address
        .rsplit_once(':')
        .ok_or_else(|| format!("address {address:?} has no port"))?;
    if !names::is_ip_text(ip) {
        return Err(format!("address {ip:?}"));
    }
    node.ip = ip.to_owned();
    let (port, cport) = match ports.split_once('@') {
        Some((port, cport)) => (number(port, "port")?, number(cport, "bus port")?),
        None => {
            let port: u16 = number(ports, "port")?;
            let cport = port.checked_add(CPORT_DISTANCE);
            (port, cport.ok_or_else(|| format!("port {port}"))?)
        }
    };
    (node.port, node.cport) = (port, cport);
    read_aux(parts, node)
}

/// The address's port is the one that has no field of its own: `tls-port` stands beside a plain
/// port, `tcp-port` beside a TLS one.
fn read_aux<'a>(fields: impl Iterator<Item = &'a str>, node: &mut NodeLine) -> Check<()> {
    let (mut tcp, mut tls) = (None, None);
    for field in fields {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| format!("field {field:?} has no value"))?;
        match name {
            "tcp-port" => tcp = Some(number(value, "tcp-port")?),
            "tls-port" => tls = Some(number(value, "tls-port")?),
            "shard-id" => node.shard = Some(parse_id(value)?),
            "nodename" if names::fits_a_line(value) => node.human_nodename = value.to_owned(),
            "nodename" => return Err(format!("nodename {value:?}")),
            _ => return Err(format!("field {name:?} is not known")),
        }
    }
    if let Some(tcp) = tcp {
        let address_port = std::mem::replace(&mut node.port, tcp);
        node.tls_port = tls.unwrap_or(address_port);
    } else {
        node.tls_port = tls.unwrap_or(0);
    }
    Ok(())
}

fn flag_words(words: &str) -> Check<Flags> {
    let mut flags = Flags::default();
    for word in words.split(',').filter(|word| *word != "noflags") {
        let word = match word {
            "primary" => "master",
            "replica" => "slave",
            other => other,
        };
        let known = FLAG_WORDS.iter().find(|(_, name)| *name == word);
        let (flag, _) = known.ok_or_else(|| format!("flag {word:?} is not known"))?;
        flags.set(*flag, true);
    }
    Ok(flags)
}

fn parse_id<Id: std::str::FromStr>(word: &str) -> Check<Id> {
    word.parse()
        .map_err(|_| format!("{word:?} is not an id of 40 hex digits"))
}

fn slot(word: &str) -> Check<u16> {
    let slot = number(word, "slot")?;
    match slot < SLOT_COUNT {
        true => Ok(slot),
        false => Err(format!("slot {slot} is out of range")),
    }
}

/// Digits only: a sign would be read by `parse`, but nobody writes one.
fn number<N: std::str::FromStr>(word: &str, what: &str) -> Check<N> {
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    match word.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(format!("{what} {word:?} is not a number that fits")),
    }
}
