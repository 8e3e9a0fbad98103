// SPDX-License-Identifier: Apache-2.0
//! Lets every utterance be recorded, whatever the sampler of the traces decides, and changes nothing else.

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Stands outside of a parent-based sampler: one inside of it is not asked below a parent that was not sampled.
#[derive(Clone, Debug)]
pub struct IntentSampler(pub Box<dyn ShouldSample>);

impl ShouldSample for IntentSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        let root =
            attributes.iter().any(|given| given.key.as_str() == "intent.root" && given.value == Value::Bool(true));
        if root && result.decision == SamplingDecision::Drop {
            // Recorded and exported, but its context says "not sampled", so nothing below it is sampled because of it.
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}
