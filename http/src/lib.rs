//! Keeps streaming HTTP responses alive through proxies.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod framing;
