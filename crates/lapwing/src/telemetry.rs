//! The log: to standard error as text or JSON, or to the journal. Set up once, its level can change.

use std::io;

use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Changes the level of a running log.
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Applies the level of `log`; its format stays what it was at start.
    pub fn apply(&self, log: &Log) {
        // The handle outlives the subscriber only while the process ends.
        drop(self.0.reload(filter(log)));
    }
}

/// Sets the log up. `LAPWING_LOG` (a tracing filter, such as `debug` or `lapwing_net=trace`) wins over the configuration.
pub fn init(log: &Log) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(filter(log));
    let layer: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Text => Box::new(
            tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_target(false)
                .with_ansi(crate::out::paint_errors()),
        ),
        LogFormat::Json => Box::new(tracing_subscriber::fmt::layer().json().with_writer(io::stderr)),
        LogFormat::Journald => Box::new(tracing_journald::layer()?),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()?;
    Ok(LogLevel(handle))
}

fn filter(log: &Log) -> EnvFilter {
    let given = std::env::var("LAPWING_LOG").ok().filter(|v| !v.is_empty());
    let text = given.unwrap_or_else(|| {
        let level = log.level.as_str();
        // Libraries speak only of what is odd; their details are for those who ask.
        format!("warn,lapwing={level},lapwing_core={level},lapwing_net={level},lapwing_probe={level},lapwing_notify={level},lapwing_store={level},lapwing_link={level},lapwing_web={level}")
    });
    EnvFilter::new(text)
}
