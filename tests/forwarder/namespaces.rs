//! What needs addresses and rules of its own.
