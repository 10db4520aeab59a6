//! What can be wrong with a file.
//!
//! Owns: [`FileError`], which names the place, and [`Fault`], which says what is wrong there.

use super::names::{opcode_name, type_name};
use super::READ;
use crate::{Type, ValueError};
use std::fmt;

/// So many bytes of a key are shown.
const KEY_SHOWN: usize = 128;

/// Why bytes are no file that can be loaded, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct FileError {
    pub place: Place,
    pub fault: Fault,
}

/// Where in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the item begins.
    pub offset: u64,
    pub opcode: Option<u8>,
    /// The number of a value's type.
    pub kind: Option<u8>,
    /// The beginning of the key.
    pub key: Option<Vec<u8>>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it does not begin as an RDB file")]
    Magic,
    #[error("its version is {0}; {first} to {last} are read", first = READ.start(), last = READ.end())]
    Version(u16),
    #[error("the file ends too early")]
    Short,
    #[error("there is no opcode and no type {0}, or it is not known here")]
    Opcode(u8),
    #[error("values of this type are not known here")]
    Type,
    #[error("it is of the module {0}; no modules are known here")]
    Module(String),
    #[error("functions of a release candidate of Redis 7.0 are not known here")]
    FunctionOfCandidate,
    #[error("there is no slot {0}")]
    Slot(u64),
    #[error("{0}")]
    Value(ValueError),
    /// Found by the reader's caller, as only the caller keeps elements.
    #[error("it has an element twice")]
    Twice,
    #[error("its checksum is {found:016x}, that of its bytes {computed:016x}")]
    Checksum { found: u64, computed: u64 },
    #[error("there are bytes behind its end")]
    Behind,
}

impl Place {
    pub(super) fn at(offset: u64) -> Place {
        Place {
            offset,
            ..Place::default()
        }
    }

    pub(super) fn of_entry(offset: u64, kind: Type) -> Place {
        Place {
            offset,
            kind: Some(kind.number()),
            ..Place::default()
        }
    }

    /// With the key, or as much of it as is shown.
    pub(super) fn with_key(mut self, key: &[u8]) -> Place {
        self.key = Some(key[..key.len().min(KEY_SHOWN)].to_vec());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}", self.offset)?;
        if let Some(opcode) = self.opcode {
            let name = opcode_name(opcode).unwrap_or("unknown");
            write!(f, ", opcode {opcode} ({name})")?;
        }
        if let Some(kind) = self.kind {
            let name = type_name(kind).unwrap_or("unknown");
            write!(f, ", type {kind} ({name})")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key \"{}\"", key.escape_ascii())?;
        }
        Ok(())
    }
}
