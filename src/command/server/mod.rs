//! Connection and server commands (CLIENT, INFO, CONFIG, HELLO, AUTH, COMMAND, ...).

use super::spec::Spec;

pub static SPECS: &[Spec] = &[];
