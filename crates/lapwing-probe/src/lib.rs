//! Asks the network: one file a probe kind, and the wrapper that times, bounds and guards every probe.
//!
//! Invariant: a probe asks once and judges what came back; whether that is an outage is decided in `lapwing-core`.

mod cx;
pub mod echo;
pub mod engine;
pub mod kinds;
mod pattern;
mod runner;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use cx::{Cx, Probing};
pub use runner::{Prober, build};

use std::{future::Future, pin::Pin};

use lapwing_core::{
    kind::{KindInfo, OptionError, Options},
    observation::Fault,
    target::Target,
};

/// What a probe's future yields: it passed, or why not and whose fault that is. What it measured stands in its [`Cx`].
pub type Verdict = Result<(), Fault>;

/// A probe of one target, ready to be run again and again, and by several runs at once.
pub trait Probe: Send + Sync + 'static {
    /// Asks once. Stages, facts and counts go into `cx`; the deadline and the panic guard are the caller's.
    fn run<'a>(&'a self, cx: &'a Cx<'a>) -> Probing<'a>;
}

/// A kind: its description, and how a target and its options become a probe.
pub struct Kind {
    pub info: &'static KindInfo,
    /// Builds the probe, or gives every error of the options at once.
    pub parse: Parse,
}

/// Builds a probe of a target, or gives every error of its options at once.
pub type Parse = fn(&Target, &Options) -> Result<Box<dyn Probe>, Vec<OptionError>>;

/// A boxed future of this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
