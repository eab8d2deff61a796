//! What the terminal shows: tables and lines, as text that the binary prints.
//!
//! Invariant: it gets shapes and gives text; it reads no clock, no file and no environment, and prints nothing.

pub mod check_lines;
mod columns;
pub mod console;
pub mod details;
pub mod echo_lines;
pub mod event_lines;
pub mod monitor_table;
pub mod paint;
pub mod report_classic;
pub mod report_csv;
pub mod report_html;
pub mod report_table;
#[cfg(test)]
mod samples;
pub mod status_table;
pub mod top;
pub mod watch;
