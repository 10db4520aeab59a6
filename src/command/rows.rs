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
use crate::resp::args::Args;

/// Defines a table: sections of a group and its ACL categories, lines in them.
macro_rules! rows {
    ($vis:vis static $table:ident: $($group:ident $acl:tt {$(
        $name:literal $arity:literal [$($flag:ident)*] $(@$category:ident)* $since:literal
        $($place:ident($($spec:tt)*))* => $run:path $([$subcommands:path])? : $summary:literal
        $(.$method:ident($($arg:expr),*))* ;
    )*})*) => {
        $vis static $table: &[$crate::command::env::Row] = &[$($($crate::command::env::Row {
            spec: $crate::command::spec::Spec::new(
                $name,
                $arity,
                $crate::command::spec::flags![$($flag),*],
                (
                    $crate::command::spec::Group::$group,
                    $crate::command::rows::acl!$acl.and($crate::command::rows::acl![$($category)*]),
                ),
                ($since, $summary),
                &[$($crate::command::rows::keys!($place $($spec)*)),*],
            )$(.$method($($arg),*))*,
            run: $run,
            subcommands: $crate::command::rows::subcommands!($($subcommands)?),
        },)*)*];
    };
}

macro_rules! acl {
    ($($name:ident)*) => {
        $crate::command::spec::Acl(0 $(| $crate::command::spec::Acl::$name.0)*)
    };
}

/// `key(place FLAGS)`, or `keys(first last step FLAGS)`, with notes behind the flags.
macro_rules! keys {
    (key $at:literal $($flag:ident)* $($notes:literal)?) => {
        $crate::command::rows::keys!(keys $at 0 1 $($flag)* $($notes)?)
    };
    (keys $first:literal $last:literal $step:literal $($flag:ident)* $($notes:literal)?) => {
        $crate::command::key_spec::KeySpec::range(
            $crate::command::key_spec::KeyFlags(
                0 $(| $crate::command::key_spec::KeyFlags::$flag.0)*
            ),
            $first,
            $last,
            $step,
        )$(.notes($notes))?
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

pub(crate) use {acl, keys, rows, subcommands};

/// The handler of containers: only their subcommands run, and the table's lookup refuses a name
/// that is none of them.
pub fn no_subcommand(_: &mut Env<'_>, args: Args<'_>) -> Done {
    let container = String::from_utf8_lossy(&args[0]).into_owned();
    Err(match args.get(1) {
        Some(name) => Error::unknown_subcommand(&container, name),
        None => Error::wrong_arity(&container.to_ascii_lowercase()),
    })
}
