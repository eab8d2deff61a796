//! Lost packets: what the loss monitor tells, against what the packet filter has really dropped.
