//! The end of descriptors, ten thousand connections, limits.
