//! Owns the number in an entry's header that says what its value field holds, and of which kind the value is. Never
//! touches memory. The numbers stay within a process.

use super::object::Object;
use super::value::Kind;

/// What the value field holds, and of which type the value is: one number for both, so that neither
/// takes a look at an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Int = 0,
    Bytes = 1,
    ObjString = 2,
    PackedHash = 3,
    PackedHashEx = 4,
    ObjHash = 5,
    PackedSetInts = 6,
    PackedSet = 7,
    ObjSet = 8,
    PackedList = 9,
    ObjList = 10,
    PackedSortedSet = 11,
    ObjSortedSet = 12,
    ObjBlob = 13,
    /// Bytes that were written into, or made to be: Redis keeps such a string apart from its object, however short it is.
    Written = 14,
}

impl Form {
    pub const ALL: [Form; 15] = [
        Form::Int,
        Form::Bytes,
        Form::ObjString,
        Form::PackedHash,
        Form::PackedHashEx,
        Form::ObjHash,
        Form::PackedSetInts,
        Form::PackedSet,
        Form::ObjSet,
        Form::PackedList,
        Form::ObjList,
        Form::PackedSortedSet,
        Form::ObjSortedSet,
        Form::ObjBlob,
        Form::Written,
    ];

    pub fn kind(self) -> Kind {
        match self {
            Form::Int | Form::Bytes | Form::Written | Form::ObjString | Form::ObjBlob => {
                Kind::String
            }
            Form::PackedHash | Form::PackedHashEx | Form::ObjHash => Kind::Hash,
            Form::PackedSetInts | Form::PackedSet | Form::ObjSet => Kind::Set,
            Form::PackedList | Form::ObjList => Kind::List,
            Form::PackedSortedSet | Form::ObjSortedSet => Kind::SortedSet,
        }
    }

    pub fn packing(self) -> Option<Packing> {
        match self {
            Form::PackedHash => Some(Packing::Hash),
            Form::PackedHashEx => Some(Packing::HashEx),
            Form::PackedSetInts => Some(Packing::SetInts),
            Form::PackedSet => Some(Packing::Set),
            Form::PackedList => Some(Packing::List),
            Form::PackedSortedSet => Some(Packing::SortedSet),
            _ => None,
        }
    }
}

/// What the bytes of a packed container are: listpacks, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Hash,
    /// Fields with their expiry, as Redis's listpackex.
    HashEx,
    /// An intset.
    SetInts,
    Set,
    List,
    /// Members with their scores, in order.
    SortedSet,
}

impl Packing {
    /// A container of this kind without elements.
    pub fn nothing(self) -> &'static [u8] {
        match self {
            Packing::Hash | Packing::HashEx | Packing::Set | Packing::List | Packing::SortedSet => {
                &containers::listpack::EMPTY
            }
            Packing::SetInts => &containers::intset::EMPTY,
        }
    }

    pub fn form(self) -> Form {
        match self {
            Packing::Hash => Form::PackedHash,
            Packing::HashEx => Form::PackedHashEx,
            Packing::SetInts => Form::PackedSetInts,
            Packing::Set => Form::PackedSet,
            Packing::List => Form::PackedList,
            Packing::SortedSet => Form::PackedSortedSet,
        }
    }
}

impl Object {
    /// The form of an entry that holds this object.
    pub(super) fn form(&self) -> Form {
        match self {
            Object::String(_) => Form::ObjString,
            Object::Blob(_) => Form::ObjBlob,
            Object::Hash(_) => Form::ObjHash,
            Object::Set(_) => Form::ObjSet,
            Object::List(_) => Form::ObjList,
            Object::SortedSet(_) => Form::ObjSortedSet,
        }
    }
}
