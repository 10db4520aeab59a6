//! The two servers side by side, and running one sequence on both.

use crate::common::resp::{show, Client, Value};
use crate::common::server::{binary, Options, Server};
use crate::common::skipped;
use crate::compare;
use crate::generate::{keys, Args, Op, CONNECTIONS};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

pub struct Pair {
    pub reference: Server,
    pub ours: Server,
}

#[derive(Debug)]
pub struct Difference {
    pub at: usize,
    pub reference: String,
    pub ours: String,
}

impl Difference {
    pub fn outcomes(&self) -> String {
        let Difference {
            reference, ours, ..
        } = self;
        format!("  redis:    {reference}\n  holdfast: {ours}\n")
    }
}

pub fn reference_binary() -> PathBuf {
    std::env::var_os("HOLDFAST_REFERENCE")
        .unwrap_or_else(|| "redis-server".into())
        .into()
}

/// Whether the reference is of this version or a later one.
pub fn reference_has(version: &str) -> bool {
    static SHOWN: OnceLock<String> = OnceLock::new();
    let shown = SHOWN.get_or_init(|| {
        let output = Command::new(reference_binary()).arg("--version").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text
            .split("v=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        version.unwrap_or_default().to_owned()
    });
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.split('.');
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    numbers(shown) >= numbers(version)
}

impl Pair {
    /// `None`, said loudly, where there is no reference: `scripts/test.sh` installs it.
    pub fn start(test: &str, directives: &[(&str, &str)]) -> Option<Pair> {
        if Command::new(reference_binary())
            .arg("--version")
            .output()
            .is_err()
        {
            skipped(
                test,
                "no redis-server here; apt-get install redis-server (scripts/test.sh does)",
            );
            return None;
        }
        // Nothing is killed here, so neither side needs to wait for its disk.
        let mut all = vec![("appendfsync", "no")];
        all.extend_from_slice(directives);
        let password = directives
            .iter()
            .find(|(name, _)| *name == "requirepass")
            .map(|(_, p)| *p);
        let start = |bin: PathBuf| {
            let mut options = Options::new(&all).bin(bin);
            options.password = password.map(String::from);
            options.start()
        };
        Some(Pair {
            reference: start(reference_binary()),
            ours: start(binary()),
        })
    }

    fn clients(&self) -> Vec<(Client, Client)> {
        let connect = |_| (self.reference.client(), self.ours.client());
        (0..CONNECTIONS).map(connect).collect()
    }

    fn clean(&self) {
        for server in [&self.reference, &self.ours] {
            assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
        }
    }

    /// One command at a time, from empty databases and fresh connections.
    pub fn run(&mut self, ops: &[Op]) -> Option<Difference> {
        self.clean();
        let mut clients = self.clients();
        for (at, op) in ops.iter().enumerate() {
            let (reference, ours) = &mut clients[op.conn];
            let (a, b) = if op.args[0].eq_ignore_ascii_case(b"SCAN") {
                (full_scan(reference, op), full_scan(ours, op))
            } else {
                for client in [&mut *reference, &mut *ours] {
                    if let Some(first) = before(op) {
                        let _ = client.try_cmd(&first);
                    }
                    let _ = client.send(&op.args);
                }
                (reply(reference), reply(ours))
            };
            if let Some(difference) = differ(at, op, a, b) {
                return Some(difference);
            }
        }
        None
    }

    /// Everything in one write on one connection.
    pub fn run_pipelined(&mut self, ops: &[Op]) -> Option<Difference> {
        self.clean();
        let (mut reference, mut ours) = (self.reference.client(), self.ours.client());
        let ops: Vec<&Op> = ops.iter().collect();
        let mut bytes = Vec::new();
        for op in &ops {
            // A full scan needs the replies in between; a PING stands for it here, and for what Redis since 7.2 does not
            // answer behind other replies: a wrong password.
            if let Some(first) = before(op) {
                bytes.extend_from_slice(&crate::common::resp::encode(&first));
            }
            let args = if op.args[0].eq_ignore_ascii_case(b"SCAN") || authenticates(op) {
                vec![b"PING".to_vec()]
            } else {
                op.args.clone()
            };
            bytes.extend_from_slice(&crate::common::resp::encode(&args));
        }
        let _ = reference.send_raw(&bytes);
        let _ = ours.send_raw(&bytes);
        for (at, op) in ops.iter().enumerate() {
            if before(op).is_some() {
                let _ = (reply(&mut reference), reply(&mut ours));
            }
            if let Some(difference) = differ(at, op, reply(&mut reference), reply(&mut ours)) {
                return Some(difference);
            }
        }
        None
    }
}

fn authenticates(op: &Op) -> bool {
    let is = |arg: &Vec<u8>| arg.eq_ignore_ascii_case(b"AUTH");
    op.args.iter().any(is)
}

/// DBSIZE counts keys that have expired and that nobody has met since: looking at every key first
/// takes active expiry's timing out of the reply.
fn before(op: &Op) -> Option<Args> {
    if !op.args[0].eq_ignore_ascii_case(b"DBSIZE") {
        return None;
    }
    let mut look = keys();
    look.insert(0, b"EXISTS".to_vec());
    Some(look)
}

/// A reply, or why there is none.
pub type Answer = Result<(Value, Vec<u8>), String>;

fn reply(client: &mut Client) -> Answer {
    client.receive_raw().map_err(|e| match e.kind() {
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => {
            std::io::ErrorKind::UnexpectedEof.to_string()
        }
        _ => e.to_string(),
    })
}

fn differ(at: usize, op: &Op, reference: Answer, ours: Answer) -> Option<Difference> {
    if compare::same(&op.args, &reference, &ours) {
        return None;
    }
    let text = |answer: &Answer| match answer {
        Ok((_, raw)) => show(raw),
        Err(why) => format!("(no reply: {why})"),
    };
    Some(Difference {
        at,
        reference: text(&reference),
        ours: text(&ours),
    })
}

/// Iterates to cursor 0; the keys seen, sorted and without repeats, stand for the reply.
fn full_scan(client: &mut Client, op: &Op) -> Answer {
    let mut cursor = b"0".to_vec();
    let mut seen = BTreeSet::new();
    for _ in 0..10_000 {
        let mut args = vec![op.args[0].clone(), cursor];
        args.extend_from_slice(&op.args[1..]);
        client.send(&args).map_err(|e| e.to_string())?;
        let (value, raw) = reply(client)?;
        match &value {
            Value::Array(parts) if parts.len() == 2 => {
                cursor = parts[0].text().into_bytes();
                for key in parts[1].items() {
                    seen.insert(format!("{key:?}"));
                }
            }
            _ => return Ok((value, raw)),
        }
        if cursor == b"0" {
            let text = format!("{seen:?}").into_bytes();
            return Ok((Value::Bulk(text.clone()), text));
        }
    }
    Err("SCAN does not come to an end".into())
}
