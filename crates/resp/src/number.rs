//! Numbers in text, with Redis's rules: strict integers, and doubles as Redis 7.4 prints them.

pub use base::double::push as push_double;
pub use base::number::parse_i64;
