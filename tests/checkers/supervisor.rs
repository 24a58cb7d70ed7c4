//! The supervisor with real sockets.
