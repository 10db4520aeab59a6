//! (rows follow)
use super::spec::Spec;
pub static SPECS: &[Spec] = &[];
