//! Whole files in memory.

use rdb::file::{End, FileError, Item, Reader, Writer, PIECE_BYTES};
use std::convert::Infallible;

pub const LIMIT: usize = 512 << 20;

/// The file's items, when it comes in slices of this length.
#[allow(dead_code)] // not every test file reads
pub fn read(file: &[u8], slice: usize) -> Result<Vec<Item<'static>>, FileError> {
    let mut reader = Reader::new(LIMIT);
    let mut items = Vec::new();
    for mut slice in file.chunks(slice.max(1)) {
        while let Some(item) = reader.next(&mut slice, &mut || {})? {
            items.push(item.into_owned());
        }
    }
    reader.finish()?;
    Ok(items)
}

/// The file of these items, and its end, which comes by itself as items `Version` and `End` do.
#[allow(dead_code)] // not every test file writes
pub fn write(version: u16, compress: bool, items: &[Item<'_>]) -> (Vec<u8>, End) {
    let mut file = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), Infallible> {
        assert!((1..=PIECE_BYTES).contains(&piece.len()));
        file.extend_from_slice(piece);
        Ok(())
    };
    let mut writer = Writer::new(version, compress);
    for item in items {
        let Ok(()) = match item {
            Item::Aux { name, value } => writer.aux(name, value, &mut sink),
            Item::Db(db) => writer.db(*db, &mut sink),
            Item::Sizes { keys, expires } => writer.sizes(*keys, *expires, &mut sink),
            Item::Slot {
                slot,
                keys,
                expires,
            } => writer.slot(*slot, *keys, *expires, &mut sink),
            Item::Function(source) => writer.function(source, &mut sink),
            Item::Entry(entry) => writer.entry(entry, &mut sink),
            Item::Version(_) | Item::End(_) => Ok(()),
        };
    }
    let Ok(end) = writer.end(&mut sink);
    assert_eq!(end.length, file.len() as u64);
    (file, end)
}
