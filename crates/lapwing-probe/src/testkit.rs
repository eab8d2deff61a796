//! Scripted and hostile peers for the tests of kinds: real sockets on loopback, port 0, IPv4 and IPv6.
