// SPDX-License-Identifier: Apache-2.0
//! "The key" of docs/spec.md, and UUIDs.

use blake2::digest::consts::U10;
use blake2::{Blake2b, Digest};
use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// UUIDv7 made from the span: 48 bits of its start, then the low 74 bits of BLAKE2b-80 over its ids.
pub fn event_id(span: &SpanContext, start_ms: u64) -> String {
    let digest = Blake2b::<U10>::new()
        .chain_update(span.trace_id().to_bytes())
        .chain_update(span.span_id().to_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&start_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest);
    spelled(bytes, 7)
}

/// A random UUID, for the process.
pub fn random_uuid() -> String {
    spelled(RandomIdGenerator::default().new_trace_id().to_bytes(), 4)
}

/// The UUID that an orchestrator of its own numbers things by; equal arguments are the same thing.
pub fn numbered_uuid(kind: u8, number: u64) -> String {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    spelled(bytes, 4)
}

fn spelled(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
