//! Log lines: to standard error, as text or JSON. Every line of a journey stands in the span `journey` with its id.

use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Lets the level be changed while the process runs, and ends the traces.
pub struct Logging {
    level: reload::Handle<EnvFilter, Registry>,
    #[cfg(feature = "otlp")]
    traces: Option<crate::traces::Traces>,
}

/// `POSTHOUSE_LOG` wins over what is written, for a look at one run.
fn filter(level: &str) -> EnvFilter {
    // the DNS server tells of every question at `info`
    EnvFilter::try_from_env("POSTHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new(format!("hickory_server=warn,{level}")))
}

/// `_otlp`: where traces go; only a build with the feature reads it.
pub fn begin(settings: &LogSettings, _otlp: Option<&str>) -> anyhow::Result<Logging> {
    let (filter, level) = reload::Layer::new(filter(&settings.level));
    // a file or a journal has no use for colours
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    if let Some(address) = _otlp {
        let (layer, traces) = crate::traces::begin(address)?;
        registry.with(layer).init();
        return Ok(Logging { level, traces: Some(traces) });
    }
    registry.init();
    Ok(Logging {
        level,
        #[cfg(feature = "otlp")]
        traces: None,
    })
}

/// For commands that a person waits for: only what went wrong.
pub fn begin_quietly() {
    let settings = LogSettings { format: LogFormat::Text, level: "error,hickory_server=off".into() };
    let _ = begin(&settings, None);
}

impl Logging {
    pub fn set_level(&self, level: &str) {
        if let Err(e) = self.level.reload(filter(level)) {
            tracing::error!(error = %e, "the level of the log was not changed");
        }
    }

    /// Traces that are not sent yet are sent, within seconds.
    pub fn end(&self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = &self.traces {
            traces.end();
        }
    }
}
