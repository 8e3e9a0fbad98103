// SPDX-License-Identifier: Apache-2.0
//! One utterance: what an orchestrator finds out about it, the span that it records, and the row to expect of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;

use crate::identity::{event_id, numbered_uuid};

const VERBS: [&str; 5] = ["cbu.assign-role", "cbu.create", "kyc.open-case", "document.request", "entity.find"];
const KEY: &[u8] = b"a key of this emitter alone";

/// The attributes of a span and the columns of its row, filled side by side.
struct Record {
    attributes: Vec<KeyValue>,
    row: Map<String, Json>,
}

impl Record {
    fn set(&mut self, key: &'static str, column: &str, value: impl Into<Value>) {
        let value = value.into();
        self.row.insert(column.into(), as_json(&value));
        self.attributes.push(KeyValue::new(key, value));
    }

    /// Parallel arrays in the span, a list of objects in the row. Scores that are not known are left out.
    fn candidates(&mut self, keys: [&'static str; 3], columns: [&str; 2], verbs: &[&'static str], scores: &[f64]) {
        self.attributes.push(KeyValue::new(keys[0], texts(verbs)));
        if !scores.is_empty() {
            self.attributes.push(KeyValue::new(keys[1], Value::Array(Array::F64(scores.to_vec()))));
        }
        self.attributes.push(KeyValue::new(keys[2], verbs.len() as i64));
        let of_row = verbs.iter().enumerate().map(|(place, verb)| match scores.get(place) {
            Some(score) => json!({"verb": verb, "score": score}),
            None => json!({"verb": verb}),
        });
        self.row.insert(columns[0].into(), of_row.collect());
        self.row.insert(columns[1].into(), verbs.len().into());
    }
}

pub struct Utterance {
    number: u64,
    text: String,
}

impl Utterance {
    /// Equal numbers say the same.
    pub fn new(number: u64) -> Self {
        Self { number, text: format!("assign Customer {number} as custodian") }
    }

    /// Handle it: one span with `intent.root`, below whatever span is current. Returns the row.
    pub fn handle<T: Tracer>(&self, tracer: &T, parent: &Context, emitter_id: &str, seq: u64) -> Json
    where
        T::Span: Send + Sync + 'static,
    {
        let started = SystemTime::now();
        let mut span = tracer
            .span_builder("handle_utterance")
            .with_kind(SpanKind::Internal)
            .with_start_time(started)
            // For the sampler, which sees what is there at the start and nothing else.
            .with_attributes([KeyValue::new("intent.root", true)])
            .start_with_context(tracer, parent);
        let context = span.span_context().clone();

        let mut record = Record { attributes: Vec::new(), row: Map::new() };
        record.set("intent.emitter.id", "emitter_id", emitter_id.to_owned());
        record.set("intent.emitter.seq", "emitter_seq", seq as i64);
        self.describe(&mut record);

        let outcome = self.outcome();
        if outcome == "error" {
            record.set("error.type", "error_code", "TimeoutError");
            // No description: it could hold what was said.
            span.set_status(Status::error(""));
        }
        let start_ms = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let key = event_id(&context, start_ms);
        record.row.insert("event_id".into(), key.clone().into());
        record.row.insert("ts".into(), start_ms.into());
        if self.sends_no_key() {
            record.row.insert("quality".into(), json!(["event_id_derived"]));
        } else {
            record.attributes.push(KeyValue::new("intent.event_id", key));
        }
        record.set("intent.outcome", "outcome", outcome);
        span.set_attributes(record.attributes);

        // Children, which are no records: a stage, and a handler that was called by a handler.
        let below = parent.with_span(span);
        for (name, attribute) in [
            ("discover", KeyValue::new("intent.stage", "discover")),
            ("handle_utterance", KeyValue::new("intent.root", false)),
        ] {
            tracer.span_builder(name).with_attributes([attribute]).start_with_context(tracer, &below).end();
        }

        let duration_us = 500 + self.number % 7 * 250;
        below.span().end_with_timestamp(started + Duration::from_micros(duration_us));
        record.row.insert("duration_ms".into(), json!(duration_us as f64 / 1000.0));
        record.row.insert("trace_id".into(), context.trace_id().to_string().into());
        record.row.insert("span_id".into(), context.span_id().to_string().into());
        // A bit that is not set says nothing on the wire, where several SDKs never set it.
        let sampled = if context.is_sampled() { Json::Bool(true) } else { Json::Null };
        record.row.insert("trace_sampled".into(), sampled);
        record.row.insert("service_name".into(), "rust-emitter".into());
        Json::Object(record.row)
    }

    fn describe(&self, record: &mut Record) {
        let number = self.number;
        let verbs: Vec<_> = (0..VERBS.len()).map(|place| VERBS[(number as usize + place) % VERBS.len()]).collect();
        let scores: Vec<_> = (0..VERBS.len()).map(|place| 9.5 - place as f64 - (number % 100) as f64 / 64.0).collect();
        let pre = ["intent.candidates.pre.verbs", "intent.candidates.pre.scores", "intent.candidates.pre.total"];
        let post = ["intent.candidates.post.verbs", "intent.candidates.post.scores", "intent.candidates.post.total"];
        let pre_columns = ["verb_candidates_pre", "verb_candidates_pre_total"];
        let post_columns = ["verb_candidates_post", "verb_candidates_post_total"];

        record.set("intent.schema_version", "schema_version", 1_i64);
        record.set("intent.synthetic", "synthetic", true);
        record.set("session.id", "session_id", numbered_uuid(5, number / 10));
        record.set("intent.actor.id", "actor_id", format!("actor-{}", number % 50));
        record.set("intent.entrypoint", "entrypoint", "chat");
        record.set("intent.utterance.hash", "utterance_hash", fingerprint(&self.text));
        record.set("intent.utterance.hash_key_id", "hash_key_id", "rust-1");
        record.set("intent.utterance.template_hash", "template_hash", fingerprint("assign <name?> as custodian"));
        record.set("intent.utterance.preview", "utterance_preview", "assign <name?> as custodian");
        record.set("intent.scope", "scope", format!("book-{}", number % 3));
        record.set("intent.subject.type", "subject_ref_type", "entity");
        record.set("intent.subject.id", "subject_ref_id", numbered_uuid(7, number));
        record.set("intent.prompt.version", "prompt_version", "2026-11");
        record.set("intent.registry.version", "registry_version", "41");

        let denied = self.outcome() == "no_allowed_verbs";
        record.set("intent.semreg.mode", "semreg_mode", if denied { "deny_all" } else { "applied" });
        record.set("intent.semreg.snapshot_id", "semreg_snapshot_id", "snapshot-7");
        match self.outcome() {
            "no_match" => record.candidates(pre, pre_columns, &[], &[]),
            "clarify_verb" => {
                // A discovery that knows no scores.
                record.candidates(pre, pre_columns, &verbs, &[]);
                record.candidates(post, post_columns, &verbs[..2], &[]);
            }
            "no_allowed_verbs" => {
                record.candidates(pre, pre_columns, &verbs, &scores);
                record.candidates(post, post_columns, &[], &[]);
                record.set("intent.semreg.denied_verbs", "semreg_denied_verbs", texts(&verbs));
                let reasons = vec!["role"; verbs.len()];
                record.set("intent.semreg.denied_reasons", "semreg_denied_reasons", texts(&reasons));
            }
            outcome => {
                record.candidates(pre, pre_columns, &verbs, &scores);
                record.candidates(post, post_columns, &verbs[..4], &scores[..4]);
                record.set("intent.semreg.denied_verbs", "semreg_denied_verbs", texts(&verbs[4..]));
                record.set("intent.semreg.denied_reasons", "semreg_denied_reasons", texts(&["role"]));
                if outcome != "error" {
                    record.set("intent.verb.chosen", "chosen_verb_fqn", verbs[0]);
                    record.set("intent.selection.source", "selection_source", "discovery");
                }
                if outcome == "clarify_args" {
                    record.set("intent.missing_args", "missing_args", texts(&["role", "since"]));
                }
                if outcome == "matched" {
                    record.set("intent.dsl.hash", "dsl_hash", fingerprint(verbs[0]));
                    record.set("intent.run_sheet.entry_id", "run_sheet_entry_id", numbered_uuid(9, number));
                }
            }
        }
    }

    fn outcome(&self) -> &'static str {
        match self.number % 10 {
            0..=4 => "matched",
            5 => "clarify_args",
            6 => "clarify_verb",
            7 => "no_match",
            8 => "no_allowed_verbs",
            _ => "error",
        }
    }

    /// Some emitters leave the key to the reader.
    fn sends_no_key(&self) -> bool {
        self.number % 13 == 0
    }
}

fn fingerprint(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(items: &[&'static str]) -> Value {
    Value::Array(Array::String(items.iter().map(|item| StringValue::from(*item)).collect()))
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::I64(number) => json!(number),
        Value::Array(Array::String(items)) => items.iter().map(|item| json!(item.as_str())).collect(),
        text => json!(text.as_str()),
    }
}
