//! What the types' tests share: a cut, walked and read to its end.

use crate::{CutBudget, CutEntry, CutReader, Keyspace};
use std::convert::Infallible;

/// Saves what the cut has not saved yet, and shows all that the reader gets.
pub fn read_cut(
    keyspace: &mut Keyspace,
    mut reader: CutReader,
    mut visit: impl FnMut(CutEntry<'_>),
) {
    let budget = CutBudget {
        bytes: usize::MAX,
        chains: usize::MAX,
    };
    while keyspace.walk(budget) {}
    while let Some(part) = keyspace.take_cut_part() {
        let Ok(()) = reader.read_part::<Infallible>(&part, &mut |entry| {
            visit(entry);
            Ok(())
        });
    }
    reader.finish().expect("the reader got every key");
}
