//! Comparing secrets.
//!
//! Owns one function. Never: keeps a secret.

/// Whether the two are the same, in a time that depends on the lengths alone, so that timing tells nothing
/// about how much of a guess was right.
pub fn same(wanted: &[u8], given: &[u8]) -> bool {
    let difference = wanted
        .iter()
        .zip(given)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    wanted.len() == given.len() && difference == 0
}
