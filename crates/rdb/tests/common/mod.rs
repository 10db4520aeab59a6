//! Whole files in memory.

use rdb::file::{End, FileError, Item, Reader, Writer, PIECE_BYTES};
use rdb::{Form, Piece, Pieces, Sink, Type};
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
    for (at, item) in items.iter().enumerate() {
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
            Item::Begin(begin) => {
                let pieces = items[at + 1..].iter().map_while(|item| match item {
                    Item::Piece(piece) => Some(piece.clone()),
                    _ => None,
                });
                let pieces: Vec<Piece<'_>> = pieces.collect();
                let Ok(mut to) = writer.begin_entry(&begin.head, &mut sink);
                put(&mut to, begin.head.encoding, &pieces)
            }
            Item::Version(_) | Item::End(_) | Item::Piece(_) | Item::Finish => Ok(()),
        };
    }
    let Ok(end) = writer.end(&mut sink);
    assert_eq!(end.length, file.len() as u64);
    (file, end)
}

/// Writes a value of these pieces.
#[allow(dead_code)] // not every test file writes
pub fn put<S: Sink>(to: &mut S, encoding: Type, pieces: &[Piece<'_>]) -> Result<(), S::Error> {
    let expiries = pieces.iter().flat_map(|piece| match piece {
        Piece::Packed(Form::HashExpiring, bytes) => {
            Form::HashExpiring.elements(bytes).collect::<Vec<_>>()
        }
        piece => vec![piece.clone()],
    });
    let soonest = expiries.filter_map(|piece| match piece {
        Piece::Field { expiry, .. } => expiry,
        _ => None,
    });
    let soonest = soonest.min().unwrap_or(0);
    let mut all = Pieces::begin(to, encoding, pieces.len() as u64, soonest)?;
    for piece in pieces {
        all.put(piece)?;
    }
    all.end();
    Ok(())
}

/// The elements of pieces, one by one.
#[allow(dead_code)] // not every test file compares elements
pub fn elements(pieces: &[Piece<'_>]) -> Vec<Piece<'static>> {
    let all = pieces.iter().flat_map(|piece| match piece {
        Piece::Packed(form, bytes) => form.elements(bytes).map(Piece::into_owned).collect(),
        piece => vec![piece.clone().into_owned()],
    });
    all.collect()
}
