//! Placeholder of the unit tests.
