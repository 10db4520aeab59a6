//! From a name to its row: every row of the command table, with its place in it.
//!
//! Owns: [`Registry`], made once of all rows. Never: knows a family, or what a handler is (`R`).
//! Invariants: ids are dense and count subcommands too; names are unique; the lookup neither allocates
//! nor depends on the case; where key specs don't say all keys of a row, it has a finder.

use super::spec::Spec;

/// A row, with its handler.
#[derive(Debug)]
pub struct Row<R: 'static> {
    pub spec: Spec,
    pub run: R,
    pub subcommands: &'static [Row<R>],
}

/// The place of a row in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(u16);

impl CommandId {
    #[inline]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A row with its place in the table.
#[derive(Debug)]
pub struct Command<R: 'static> {
    pub spec: &'static Spec,
    pub run: R,
    pub id: CommandId,
    /// The container of a subcommand.
    pub container: Option<&'static str>,
    pub subcommands: &'static [Command<R>],
}

/// Where looking up a name (and a subcommand) leads.
pub enum Lookup<R: 'static> {
    Found(&'static Command<R>),
    Unknown,
    /// The container exists, the subcommand doesn't.
    UnknownSubcommand(&'static Command<R>),
}

/// Slots of the hash table; far more than there are commands, so that a probe is one step.
const BUCKETS: usize = 2048;
const EMPTY: u16 = u16::MAX;

pub struct Registry<R: 'static> {
    commands: &'static [Command<R>],
    /// Open addressing; holds indexes into `commands`.
    buckets: Box<[u16; BUCKETS]>,
    by_id: Vec<&'static Command<R>>,
}

/// Numbers the rows, a container before its subcommands.
struct Numbering(u16);

impl Numbering {
    fn place<R: Copy>(
        &mut self,
        row: &'static Row<R>,
        container: Option<&'static str>,
    ) -> Command<R> {
        let spec = &row.spec;
        let known = spec.key_specs.iter().all(|keys| keys.is_complete());
        assert!(
            known || spec.finder.is_some(),
            "the key specs of {} don't say all its keys",
            spec.full_name
        );
        let id = CommandId(self.0);
        self.0 += 1;
        let subcommands = row.subcommands.iter();
        let subcommands = subcommands.map(|sub| self.place(sub, Some(spec.name)));
        Command {
            spec,
            run: row.run,
            id,
            container,
            // The table lives as long as the process: leaking it gives its rows their lifetime.
            subcommands: Vec::leak(subcommands.collect()),
        }
    }
}

impl<R: Copy> Registry<R> {
    pub fn new(rows: impl Iterator<Item = &'static Row<R>>) -> Registry<R> {
        let mut numbering = Numbering(0);
        let commands = rows.map(|row| numbering.place(row, None));
        let commands: &'static [Command<R>] = Vec::leak(commands.collect());
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
        let by_id: Vec<_> = commands.iter().flat_map(Command::and_subcommands).collect();
        let dense = |(at, command): (usize, &&Command<R>)| command.id.index() == at;
        assert!(by_id.iter().enumerate().all(dense), "ids are places");
        Registry {
            commands,
            buckets,
            by_id,
        }
    }
}

impl<R> Registry<R> {
    /// Every row, subcommands included, in the order of ids.
    pub fn all(&self) -> &[&'static Command<R>] {
        &self.by_id
    }

    /// The commands, without subcommands (COMMAND COUNT).
    pub fn commands(&self) -> &'static [Command<R>] {
        self.commands
    }

    pub fn command(&self, id: CommandId) -> &'static Command<R> {
        self.by_id[id.index()]
    }

    /// The command called `name`, or the subcommand called `container|name`.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&'static Command<R>> {
        let mut parts = name.splitn(2, |byte| *byte == b'|');
        let command = self.get(parts.next()?)?;
        match parts.next() {
            None => Some(command),
            Some(sub) => command.subcommand(sub),
        }
    }

    /// The full names of all commands and subcommands that `passes` lets through.
    pub fn full_names(&self, passes: impl Fn(&Spec) -> bool) -> Vec<&'static str> {
        let passing = self.by_id.iter().filter(|command| passes(command.spec));
        passing.map(|command| command.spec.full_name).collect()
    }

    /// The command of that name, in any case; not a subcommand.
    pub fn get(&self, name: &[u8]) -> Option<&'static Command<R>> {
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
    pub fn lookup(&self, name: &[u8], sub: Option<&[u8]>) -> Lookup<R> {
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

impl<R> Command<R> {
    pub fn subcommand(&'static self, name: &[u8]) -> Option<&'static Command<R>> {
        self.subcommands
            .iter()
            .find(|c| c.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }

    fn and_subcommands(&'static self) -> impl Iterator<Item = &'static Command<R>> {
        std::iter::once(self).chain(self.subcommands)
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
