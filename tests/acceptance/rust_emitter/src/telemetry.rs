// SPDX-License-Identifier: Apache-2.0
//! The SDK, set up so that a Collector may be away for a while.

use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};

use crate::sampler::IntentSampler;

/// How long one export is tried again, and how long the end of the process waits for the last ones.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Spans that may wait in memory: one more is dropped by the SDK.
const QUEUE: usize = 1 << 18;

/// Half of the traces are sampled. Needs a Tokio runtime.
pub fn provider() -> Result<SdkTracerProvider, ExporterBuildError> {
    // The crate's default is to give up after three tries, which is shorter than the restart of a Collector.
    let retries = RetryPolicy::recommended().with_max_retries(usize::MAX).with_max_delay(Duration::from_secs(1));
    let exporter = SpanExporter::builder().with_tonic().with_timeout(PATIENCE).with_retry_policy(retries).build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(512)
        .with_scheduled_delay(Duration::from_millis(200))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("rust-emitter").build())
        .with_sampler(IntentSampler(Box::new(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.5))))))
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .build())
}
