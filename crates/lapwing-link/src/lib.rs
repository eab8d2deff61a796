//! Other machines: the echo server
