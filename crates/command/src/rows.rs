//! The command table in the form in which families write it: a line for each command.
//!
//! Owns: the macro [`rows`] and what its lines may say, the handler of containers. Never: knows a row.
//!
//! A line has, in this order: full name, arity, flags, ACL categories (those of the section are added,
//! and what the flags imply), the version that brought it, key specs, handler, the table of
//! subcommands, summary, then the builder methods of [`Spec`](super::spec::Spec):
//!
//! ```text
//! "get" 2 [READONLY FAST] "1.0.0" key(1 RO ACCESS) => read::get: "A string's value.";
//! "mset" -3 [WRITE DENYOOM] "1.0.1" keys(1 -1 2 OW UPDATE) => set::mset: "Sets several." .tips(SPREAD);
//! ```

use super::env::{Done, Env};
use super::error::Error;
use resp::args::Args;

/// Defines a table: sections of a group and its ACL categories, lines in them.
macro_rules! rows {
    ($vis:vis static $table:ident: $($group:ident $acl:tt {$(
        $name:literal $arity:literal [$($flag:ident)*] $(@$category:ident)* $since:literal
        $($place:ident($($spec:tt)*))* => $run:path $([$subcommands:path])? : $summary:literal
        $(.$method:ident($($arg:expr),*))* ;
    )*})*) => {
        $vis static $table: &[$crate::env::Row] = &[$($($crate::env::Row {
            spec: $crate::spec::Spec::new(
                $name,
                $arity,
                $crate::spec::flags![$($flag),*],
                (
                    $crate::spec::Group::$group,
                    $crate::rows::acl!$acl.and($crate::rows::acl![$($category)*]),
                ),
                ($since, $summary),
                &[$($crate::rows::keys!($place $($spec)*)),*],
            )$(.$method($($arg),*))*,
            run: $run,
            subcommands: $crate::rows::subcommands!($($subcommands)?),
        },)*)*];
    };
}

macro_rules! acl {
    ($($name:ident)*) => {
        $crate::spec::Acl(0 $(| $crate::spec::Acl::$name.0)*)
    };
}

/// `key(place FLAGS)`, or `keys(first last step FLAGS)`, with notes behind the flags; `keyword(...)`, `keynum(...)`.
macro_rules! keys {
    (keyword $($of:tt)*) => {
        $crate::rows::behind!($($of)*)
    };
    (keynum $($of:tt)*) => {
        $crate::rows::counted!($($of)*)
    };
    (key $at:literal $($flag:ident)* $($notes:literal)?) => {
        $crate::rows::keys!(keys $at 0 1 $($flag)* $($notes)?)
    };
    (keys $first:literal $last:literal $step:literal $($flag:ident)* $($notes:literal)?) => {
        $crate::key_spec::KeySpec::range(
            $crate::key_spec::KeyFlags(
                0 $(| $crate::key_spec::KeyFlags::$flag.0)*
            ),
            $first,
            $last,
            $step,
        )$(.notes($notes))?
    };
}

/// `keyword("WORD" from last step FLAGS)`: keys behind a word.
macro_rules! behind {
    ($word:literal $from:literal $last:literal $step:literal $($flag:ident)*) => {
        $crate::key_spec::KeySpec::new(
            $crate::key_spec::KeyFlags(
                0 $(| $crate::key_spec::KeyFlags::$flag.0)*
            ),
            $crate::key_spec::Begin::Keyword { word: $word, from: $from },
            $crate::key_spec::Find::Range { last: $last, step: $step, limit: 0 },
        )
    };
}

/// `keynum(begin at first step FLAGS)`: as many keys as an argument says.
macro_rules! counted {
    ($begin:literal $at:literal $first:literal $step:literal $($flag:ident)*) => {
        $crate::key_spec::KeySpec::new(
            $crate::key_spec::KeyFlags(
                0 $(| $crate::key_spec::KeyFlags::$flag.0)*
            ),
            $crate::key_spec::Begin::Index($begin),
            $crate::key_spec::Find::KeyNum { at: $at, first: $first, step: $step },
        )
    };
}

macro_rules! subcommands {
    () => {
        &[]
    };
    ($table:path) => {
        $table
    };
}

pub(crate) use {acl, behind, counted, keys, rows, subcommands};

/// The handler of containers: only their subcommands run, and the table's lookup refuses a name
/// that is none of them.
pub fn no_subcommand(_: &mut Env<'_>, args: Args<'_>) -> Done {
    let container = String::from_utf8_lossy(&args[0]).into_owned();
    Err(match args.get(1) {
        Some(name) => Error::unknown_subcommand(&container, name),
        None => Error::wrong_arity(&container.to_ascii_lowercase()),
    })
}
