//! Bytes to messages and back: ICMP, NTP, echo; panic-free
