// SPDX-License-Identifier: Apache-2.0
//! The SDK, set up so that a Collector may be away for a while.

use std::thread::sleep;
use std::time::{Duration, Instant};

use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};

use crate::sampler::IntentSampler;

/// How long one batch is tried again, and how long the end of the process waits for the last ones.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Spans that may wait in memory: one more is dropped by the SDK.
const QUEUE: usize = 1 << 18;

const ATTEMPT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Tries a batch again whatever the reason of its failure.
///
/// The crate's own policy gives up after three tries, and at once when a connection breaks under a request, which is of
/// status UNKNOWN. The key makes one row of what comes twice.
#[derive(Debug)]
struct Patient(OtlpExporter);

impl SpanExporter for Patient {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let began = Instant::now();
        loop {
            match self.0.export(batch.clone()).await {
                // The processor's own thread, which has nothing else to do.
                Err(_) if began.elapsed() < PATIENCE => sleep(PAUSE),
                result => return result,
            }
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Half of the traces are sampled. Needs a Tokio runtime.
pub fn provider() -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = Patient(OtlpExporter::builder().with_tonic().with_timeout(ATTEMPT).build()?);
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
