#![cfg_attr(feature = "tokio", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tokio"),
    doc = "Keeps long-lived streams alive through proxies. The guide is on the page of the default features."
)]
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
extern crate std;

mod accessors;
mod ext;
mod fill;
mod idle_clock;
mod idle_timeout;
mod keepalive;
mod timer;

pub use crate::{
    ext::KeepaliveExt,
    fill::{Fill, Repeat},
    idle_timeout::IdleTimeout,
    keepalive::Keepalive,
    timer::{SleepTimer, Timer, TokioTimer},
};

#[cfg(all(
    feature = "tokio",
    not(all(target_arch = "wasm32", target_os = "unknown"))
))]
pub use crate::timer::{SharedTimer, SharedTimers};
