//! Byte-exact replies.
