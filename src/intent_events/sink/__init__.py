# SPDX-License-Identifier: Apache-2.0
"""OTLP/gRPC and OTLP/HTTP for Collectors and for emitters in any language: the second door to the same rows."""
