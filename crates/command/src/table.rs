//! The command table: the one list of families.
//!
//! Owns: [`table`], built once at first use. Never: executes. The only file of the core that knows the
//! families: all others get the table through [`Env::commands`](super::env::Env::commands).

use super::env::Commands;
use super::{
    bitmap, cluster, databases, dump, expiry, function, generic, geo, hash, hyperloglog, keys,
    list, migrate, pubsub, server, set, sort, string, transaction, zset,
};
use std::sync::LazyLock;

/// The one table of this process.
pub fn table() -> &'static Commands {
    static TABLE: LazyLock<Commands> = LazyLock::new(|| {
        let families = [
            string::ROWS,
            hash::ROWS,
            list::ROWS,
            set::ROWS,
            zset::ROWS,
            geo::ROWS,
            bitmap::ROWS,
            hyperloglog::ROWS,
            generic::ROWS,
            sort::ROWS,
            databases::ROWS,
            dump::ROWS,
            expiry::ROWS,
            keys::ROWS,
            migrate::ROWS,
            function::ROWS,
            transaction::ROWS,
            pubsub::ROWS,
            cluster::ROWS,
        ];
        let server = server::TABLES.iter().copied();
        Commands::new(families.into_iter().chain(server).flatten())
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::CommandFlags;

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
        for command in table().all() {
            let spec = command.spec;
            assert!(std::ptr::eq(table().command(command.id), *command));
            let found = table().by_full_name(spec.full_name.as_bytes());
            assert_eq!(found.unwrap().id, command.id);
            let full_name = match command.container {
                None => spec.name.to_owned(),
                Some(container) => format!("{container}|{}", spec.name),
            };
            assert_eq!(spec.full_name, full_name);
        }
    }

    /// D5: a range of slots is many times as long in the record as in the arguments.
    #[test]
    fn changes_of_the_record_amplify() {
        for command in table().all() {
            let flags = command.spec.flags;
            let amplifies = flags.has(CommandFlags::AMPLIFIES);
            assert_eq!(amplifies, command.spec.effects.is_some());
            assert!(amplifies || !flags.has(CommandFlags::CHANGES_RECORD));
        }
    }

    /// A command on data whose keys aren't found runs unchecked: without MOVED and on any slot.
    #[test]
    fn keys_of_a_generated_call_are_found() {
        for command in table().all() {
            let spec = command.spec;
            if spec.key_specs.is_empty() {
                assert!(!spec.has_keys(), "{}", spec.full_name);
                continue;
            }
            let args = vec![b"1".to_vec(); spec.arity.unsigned_abs().into()];
            let (mut keys, mut with_flags) = (Vec::new(), Vec::new());
            let args = resp::args::Args::from(args.as_slice());
            spec.keys(args, |index| keys.push(index)).unwrap();
            let mut see = |index, _| with_flags.push(index);
            spec.keys_and_flags(args, &mut see).unwrap();
            assert_eq!(keys, with_flags, "{}", spec.full_name);
            let optional = spec.full_name == "sunsubscribe";
            assert_eq!(keys.is_empty(), optional, "{}", spec.full_name);
        }
    }
}
