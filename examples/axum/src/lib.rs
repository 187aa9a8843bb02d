//! Event streams of axum that outlive the idle timeouts of proxies.
//!
//! The programs are `bin/sse.rs`, `bin/websocket.rs` and `bin/layer.rs`. The first two stream the lines of standard input
//! from the same [`log`], and their pages, in `pages`, detect a dead connection with the same watchdog.

pub mod log;
pub mod websocket;

/// The script with which a page detects a dead connection.
pub const WATCHDOG: &str = include_str!("../pages/watchdog.js");
