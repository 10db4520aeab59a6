//! Which types of values there are, and how each is encoded.
//!
//! Owns: [`Type`], the byte before a value, and [`Kind`], what a value is to its clients. Never: reads or writes one.

/// What a value is, however it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    String,
    List,
    Set,
    SortedSet,
    Hash,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "sorted set",
            Kind::Hash => "hash",
        }
    }
}

/// The byte that says of which type a value is, and how it is encoded.
///
/// Redis 7.4 writes [`String`](Type::String), [`Set`](Type::Set), [`Hash`](Type::Hash), [`SortedSet`](Type::SortedSet),
/// [`SetIntset`](Type::SetIntset), [`ListNodes`](Type::ListNodes), what ends with `Listpack`, and
/// [`HashExpiring`](Type::HashExpiring); and reads all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    String = 0,
    /// Element after element.
    List = 1,
    Set = 2,
    /// Scores as text.
    SortedSetText = 3,
    Hash = 4,
    /// Scores as eight bytes.
    SortedSet = 5,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    SortedSetZiplist = 12,
    HashZiplist = 13,
    /// Ziplists of several elements each.
    ListZiplists = 14,
    HashListpack = 16,
    SortedSetListpack = 17,
    /// Listpacks of several elements each, and long elements on their own.
    ListNodes = 18,
    SetListpack = 20,
    /// A hash of which fields may expire; of a release candidate of Redis 7.4.
    HashExpiringCandidate = 22,
    HashExpiringListpackCandidate = 23,
    HashExpiring = 24,
    HashExpiringListpack = 25,
}

impl Type {
    pub const ALL: [Type; 20] = [
        Type::String,
        Type::List,
        Type::Set,
        Type::SortedSetText,
        Type::Hash,
        Type::SortedSet,
        Type::HashZipmap,
        Type::ListZiplist,
        Type::SetIntset,
        Type::SortedSetZiplist,
        Type::HashZiplist,
        Type::ListZiplists,
        Type::HashListpack,
        Type::SortedSetListpack,
        Type::ListNodes,
        Type::SetListpack,
        Type::HashExpiringCandidate,
        Type::HashExpiringListpackCandidate,
        Type::HashExpiring,
        Type::HashExpiringListpack,
    ];

    pub const fn number(self) -> u8 {
        self as u8
    }

    pub const fn numbered(number: u8) -> Option<Type> {
        let mut at = 0;
        while at < Type::ALL.len() {
            if Type::ALL[at].number() == number {
                return Some(Type::ALL[at]);
            }
            at += 1;
        }
        None
    }

    pub const fn kind(self) -> Kind {
        match self {
            Type::String => Kind::String,
            Type::List | Type::ListZiplist | Type::ListZiplists | Type::ListNodes => Kind::List,
            Type::Set | Type::SetIntset | Type::SetListpack => Kind::Set,
            Type::SortedSetText
            | Type::SortedSet
            | Type::SortedSetZiplist
            | Type::SortedSetListpack => Kind::SortedSet,
            Type::Hash
            | Type::HashZipmap
            | Type::HashZiplist
            | Type::HashListpack
            | Type::HashExpiringCandidate
            | Type::HashExpiringListpackCandidate
            | Type::HashExpiring
            | Type::HashExpiringListpack => Kind::Hash,
        }
    }

    /// The lowest version that a payload or a file with this type needs: a reader refuses a version above its own, so what
    /// is for an older Redis carries this one.
    pub const fn lowest_version(self) -> u16 {
        match self {
            Type::SetListpack => 11,
            Type::HashExpiringCandidate
            | Type::HashExpiringListpackCandidate
            | Type::HashExpiring
            | Type::HashExpiringListpack => 12,
            _ => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_number() {
        for number in 0..=u8::MAX {
            let known = Type::numbered(number);
            let absent = matches!(number, 6..=8 | 15 | 19 | 21 | 26..);
            assert_eq!(known.is_none(), absent, "{number}");
            assert!(known.is_none_or(|known| known.number() == number));
        }
        let newest: Vec<u8> = Type::ALL
            .iter()
            .filter(|known| known.lowest_version() > 10)
            .map(|known| known.number())
            .collect();
        assert_eq!(newest, [20, 22, 23, 24, 25]);
    }
}
