//! Traces over OTLP, for those who built with the feature `otlp`: a span for each journey, with its id, and one for each of its
//! steps. Log lines are not sent along: some name the sender of a message.

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

/// A collector beside us answers in milliseconds; what it does not take is dropped, and mail goes on.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends in a thread of its own until it is told to end.
pub struct Traces(SdkTracerProvider);

pub fn begin<S>(address: &str) -> Result<(impl Layer<S>, Traces)>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(address)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .with_context(|| format!("telemetry.otlp: {address}"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("posthouse").build())
        .build();
    let of_journeys = |m: &tracing::Metadata<'_>| m.is_span() && m.target().starts_with("gateway");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("posthouse"))
        .with_location(false)
        .with_threads(false)
        .with_filter(filter::filter_fn(of_journeys));
    Ok((layer, Traces(provider)))
}

impl Traces {
    /// Sends what is not sent yet.
    pub fn end(&self) {
        if let Err(e) = self.0.shutdown() {
            tracing::warn!(error = %e, "the last traces were not sent");
        }
    }
}
