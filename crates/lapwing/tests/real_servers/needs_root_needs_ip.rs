//! The tests. The name of this module, and those of its tests, say what they cannot do without.

mod echo;
mod heartbeat;
mod line;
mod loss;
mod names;
mod second_opinion;
mod ssh;
mod time;
mod web;
