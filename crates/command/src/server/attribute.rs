//! What clients may call themselves (CLIENT SETNAME, CLIENT SETINFO, HELLO SETNAME).
//!
//! Owns: the one rule. CLIENT LIST separates fields by spaces and clients by lines, so that a name
//! may hold only visible ASCII.

/// Whether CLIENT LIST stays readable with this name or library; empty means none.
pub fn is_valid(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}
