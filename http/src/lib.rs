#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod config;
pub mod framing;
mod layer;
mod service;

pub use crate::{
    body::KeepaliveBody,
    layer::KeepaliveLayer,
    service::{KeepaliveService, ResponseFuture},
};
