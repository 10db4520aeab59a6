//! The command table: every row of every family, and the way from a name to its row.
//!
//! Owns: [`table`], built once at first use. Never: executes. Invariants: ids are dense and count
//! subcommands too; names are unique; the lookup neither allocates nor depends on the case.

use super::spec::Spec;
use super::{cluster, expiry, generic, keys, pubsub, server, string, transaction};
use std::sync::LazyLock;

/// A row with its place in the table.
#[derive(Debug)]
pub struct Command {
    pub spec: &'static Spec,
    /// Index into [`super::stats::Stats::commands`].
    pub id: usize,
    /// The container of a subcommand.
    pub container: Option<&'static str>,
    pub subcommands: &'static [Command],
}

/// Where looking up a name (and a subcommand) leads.
pub enum Lookup {
    Found(&'static Command),
    Unknown,
    /// The container exists, the subcommand doesn't.
    UnknownSubcommand(&'static Command),
}

/// Slots of the hash table; far more than there are commands, so that a probe is one step.
const BUCKETS: usize = 2048;
const EMPTY: u16 = u16::MAX;

pub struct Table {
    commands: &'static [Command],
    /// Open addressing; holds indexes into `commands`.
    buckets: Box<[u16; BUCKETS]>,
    len: usize,
}

/// The one table of this process.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::build);
    &TABLE
}

impl Table {
    fn build() -> Table {
        let families: [&'static [Spec]; 8] = [
            string::SPECS,
            generic::SPECS,
            expiry::SPECS,
            keys::SPECS,
            transaction::SPECS,
            pubsub::SPECS,
            server::SPECS,
            cluster::SPECS,
        ];
        let mut len = 0;
        let mut next_id = || {
            len += 1;
            len - 1
        };
        let mut commands = Vec::new();
        for spec in families.into_iter().flatten() {
            let id = next_id();
            let subs = spec.subcommands.iter().map(|sub| Command {
                spec: sub,
                id: next_id(),
                container: Some(spec.name),
                subcommands: &[],
            });
            // The table lives as long as the process: leaking it gives its rows their lifetime.
            let subcommands: &'static [Command] = Vec::leak(subs.collect());
            commands.push(Command {
                spec,
                id,
                container: None,
                subcommands,
            });
        }
        let commands: &'static [Command] = Vec::leak(commands);
        let mut buckets = Box::new([EMPTY; BUCKETS]);
        for (index, command) in commands.iter().enumerate() {
            let name = command.spec.name.as_bytes();
            let mut bucket = hash(name);
            while buckets[bucket] != EMPTY {
                let other = commands[usize::from(buckets[bucket])].spec.name;
                assert!(other != command.spec.name, "two commands are named {other}");
                bucket = (bucket + 1) % BUCKETS;
            }
            buckets[bucket] = u16::try_from(index).expect("fewer than 65535 commands");
        }
        Table {
            commands,
            buckets,
            len,
        }
    }

    /// How many rows there are, subcommands included: ids are below it.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The commands, without subcommands (COMMAND COUNT).
    pub fn commands(&self) -> &'static [Command] {
        self.commands
    }

    /// Every row: each command, then its subcommands.
    pub fn rows(&self) -> impl Iterator<Item = &'static Command> {
        self.commands
            .iter()
            .flat_map(|command| std::iter::once(command).chain(command.subcommands))
    }

    /// The command of that name, in any case; not a subcommand.
    pub fn get(&self, name: &[u8]) -> Option<&'static Command> {
        let mut bucket = hash(name);
        loop {
            let index = self.buckets[bucket];
            if index == EMPTY {
                return None;
            }
            let command = &self.commands[usize::from(index)];
            if command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            bucket = (bucket + 1) % BUCKETS;
        }
    }

    /// The command that `name` and, for a container, `sub` mean.
    pub fn lookup(&self, name: &[u8], sub: Option<&[u8]>) -> Lookup {
        let Some(command) = self.get(name) else {
            return Lookup::Unknown;
        };
        match sub {
            Some(sub) if !command.subcommands.is_empty() => command
                .subcommand(sub)
                .map_or(Lookup::UnknownSubcommand(command), Lookup::Found),
            _ => Lookup::Found(command),
        }
    }
}

impl Command {
    pub fn subcommand(&'static self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands
            .iter()
            .find(|c| c.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Mixes the first and the last eight bytes and the length, with the case folded away (the fold
/// also merges a few signs; the comparison that follows tells them apart).
fn hash(name: &[u8]) -> usize {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) | FOLD;
    let (head, tail) = match (name.first_chunk(), name.last_chunk()) {
        (Some(head), Some(tail)) => (word(head), word(tail)),
        // Byte by byte: a copy of so few bytes, whose number is not known, costs a call.
        _ => {
            let short = name.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b)) | FOLD;
            (short, short)
        }
    };
    let mixed = (head.wrapping_mul(MIX) ^ tail ^ name.len() as u64).wrapping_mul(MIX);
    (mixed >> 48) as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        let table = table();
        for command in table.commands() {
            let upper = command.spec.name.to_ascii_uppercase();
            assert_eq!(table.get(upper.as_bytes()).unwrap().id, command.id);
            assert!(table
                .get(&upper.as_bytes()[1..])
                .is_none_or(|c| c.id != command.id));
        }
        assert!(table.get(b"").is_none());
        assert!(table.get(&[b'x'; 100]).is_none());
    }

    #[test]
    fn rows_agree_with_themselves() {
        let mut ids = vec![];
        for command in table().commands() {
            assert_eq!(command.spec.full_name, command.spec.name);
            ids.push(command.id);
            for sub in command.subcommands {
                assert_eq!(
                    sub.spec.full_name,
                    format!("{}|{}", command.spec.name, sub.spec.name)
                );
                ids.push(sub.id);
            }
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..table().len()).collect::<Vec<_>>());
    }
}
