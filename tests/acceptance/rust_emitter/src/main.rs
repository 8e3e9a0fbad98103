// SPDX-License-Identifier: Apache-2.0
//! An orchestrator in another language: records utterances with the OpenTelemetry crates, by docs/spec.md alone.
//!
//!     rust-emitter UTTERANCES [UTTERANCES_A_SECOND]
//!
//! Spans go to OTEL_EXPORTER_OTLP_ENDPOINT (OTLP/gRPC). The row that each utterance has to become is written to the
//! standard output, one JSON object a line: its keys are the columns of agent.intent_events, `ts` is in milliseconds.

mod identity;
mod sampler;
mod telemetry;
mod utterance;

use std::error::Error;
use std::io::{BufWriter, Write, stdout};
use std::time::{Duration, Instant};

use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};

use utterance::Utterance;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("usage: rust-emitter UTTERANCES [UTTERANCES_A_SECOND]")?.parse()?;
    let rate: f64 = arguments.next().map_or(Ok(0.0), |given| given.parse())?;

    // The exporter's connection lives on this runtime; the handlers below are plain functions.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let provider = runtime.block_on(async { telemetry::provider() })?;
    let tracer = provider.tracer("rust-emitter");
    let emitter_id = identity::random_uuid();

    let began = Instant::now();
    let mut expected = BufWriter::new(stdout().lock());
    for number in 0..count {
        if rate > 0.0 {
            let due = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        // As behind a web framework: what handles the utterance is not the root of its trace. Its trace is sampled or
        // not; every utterance is a record all the same.
        let request = tracer
            .span_builder("POST /chat")
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.request.method", "POST")])
            .start_with_context(&tracer, &Context::new());
        let context = Context::new().with_span(request);
        let row = Utterance::new(number).handle(&tracer, &context, &emitter_id, number + 1);
        context.span().end();
        writeln!(expected, "{row}")?;
    }
    expected.flush()?;
    provider.shutdown_with_timeout(telemetry::PATIENCE)?;
    Ok(())
}
